"""Small bundles to report on, made by the real pipeline; the encoder's fine-tuning alone is scripted."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from postq.contracts.device import Device
from postq.contracts.document import Document
from postq.contracts.recipes import EncoderRecipe, TfidfRecipe
from postq.learning.data import TrainingData
from postq.learning.detectors import Detection
from postq.learning.hooks import Hooks
from postq.learning.training import train_bundle
from tests.unit.learning.opinions import training_data

CPU = Device(kind="cpu")
TFIDF = TfidfRecipe(regularisation=(1.0, 4.0), folds=3)
ENCODER = EncoderRecipe(backbone="models/scripted", epochs=2)
HOSTILE = (
    "<script>alert(1)</script>",
    "$x_1$ & \"quotes\" 'both'",
    "פסק דין סופי",
    "--> ]]> {{ 7 * 7 }} {% raw %}",
    "a\u202eb \\frac{1}{2} \u65e5\u672c",
    "=cmd()|' !A0",
)


def renamed(data: TrainingData, names: Sequence[str]) -> TrainingData:
    """The same data with other label names."""
    new = dict(zip((f"label {at}" for at in range(len(names))), names, strict=True))

    def relabel(documents: Sequence[Document]) -> list[Document]:
        return [replace(one, labels=tuple(new[name] for name in one.labels)) for one in documents]

    return replace(
        data,
        train=relabel(data.train),
        validation=relabel(data.validation),
        test=relabel(data.test),
        labels=tuple(sorted(new[name] for name in data.labels)),
    )


def make_tfidf(folder: Path, *, data: TrainingData | None = None, **changes: object) -> dict[str, Any]:
    """Train a TF-IDF bundle; returns the facts a job would keep."""
    recipe = TFIDF.model_copy(update=changes)
    return train_bundle(
        recipe, data or training_data(), output=folder, name="words", device=CPU, hooks=Hooks()
    )


class ScriptedEncoder:
    """Stands in for a fine-tuned encoder: scores follow the truth with noise of a chosen size."""

    score_space = "sigmoid"
    history = [
        {
            "epoch": float(epoch),
            "train_loss": 9.0,
            "train_loss_unweighted": 0.5 / epoch,
            "val_loss": 8.0,
            "val_loss_unweighted": 0.6 / epoch,
            "val_map": 0.3 * epoch,
            "val_micro_f1": 0.2 * epoch,
            "selected": 0.3 * epoch,
            "learning_rate": 2e-5 / epoch,
        }
        for epoch in (1, 2)
    ]
    timing: Mapping[str, Any] = {}
    facts: Mapping[str, Any] = {"best_epoch": 2, "prior_loss": 0.55, "peak_rate": 2e-5}

    def __init__(self, labels: Sequence[str], *, noise: float, detections: Sequence[Detection] = ()) -> None:
        self.labels = labels
        self.noise = noise
        self.detections = tuple(detections)

    def score(self, documents: Sequence[Document], *, hooks: Hooks | None = None) -> NDArray[np.float32]:
        truth = np.array([[name in one.labels for name in self.labels] for one in documents], np.float64)
        noise = np.random.default_rng(len(documents)).normal(0, self.noise, truth.shape)
        return np.asarray(1 / (1 + np.exp(-(4 * truth - 2 + noise))), np.float32)

    def write_model_files(self, folder: Path) -> None:
        (folder / "config.json").write_text("{}")


def make_encoder(
    folder: Path,
    patch: pytest.MonkeyPatch,
    *,
    data: TrainingData | None = None,
    noise: float = 3.0,
    detections: Sequence[Detection] = (),
    **changes: object,
) -> dict[str, Any]:
    """An encoder bundle with its real TF-IDF baseline; only the fine-tuning itself is scripted."""
    material = data or training_data()
    module = ModuleType("postq.learning.encoder.training.fine_tuning")
    scripted = ScriptedEncoder(material.labels, noise=noise, detections=detections)
    module.train_encoder = lambda *_args, **_named: scripted  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "postq.learning.encoder.training.fine_tuning", module)
    patch.setattr("postq.learning.training._check_backbone", lambda recipe: None)
    recipe = ENCODER.model_copy(update=changes)
    return train_bundle(recipe, material, output=folder, name="reader", device=CPU, hooks=Hooks())
