"""A training on a device that stands for two: real processes, equal steps, one bundle's worth of results."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from postq.contracts.device import Device
from postq.contracts.recipes import EncoderRecipe
from postq.learning.encoder.steps.workbench import copy_weights
from postq.learning.encoder.training.fine_tuning import train_encoder
from tests.unit.learning.encoder.material import CPU, opinions, training_data
from tests.unit.learning.encoder.recorder import Recorder

DATA = training_data(opinions(18), opinions(7, start=100))


@pytest.fixture
def without_dropout(tiny_backbone: Path, tmp_path: Path) -> Path:
    """The tiny backbone, whose draws would differ from rank to rank otherwise."""
    folder = tmp_path / "backbone"
    shutil.copytree(tiny_backbone, folder)
    config = json.loads((folder / "config.json").read_text())
    config["hidden_dropout_prob"] = 0.0
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.slow
def test_two_processes_train_what_one_trains(without_dropout: Path, tmp_path: Path) -> None:
    recipe = EncoderRecipe(
        backbone=str(without_dropout),
        max_tokens=128,
        epochs=2,
        batch_documents=4,
        accumulation=2,
        learning_rate=3e-3,
        patience=0,
    )
    whole = train_encoder(recipe, DATA, device=CPU, hooks=Recorder().hooks, tokens_per_batch=250)
    told = Recorder()
    two = train_encoder(
        recipe,
        DATA,
        device=Device(kind="cpu", count=2),
        hooks=told.hooks,
        tokens_per_batch=250,
        checkpoints=tmp_path / "checkpoints",
    )
    assert (whole.facts["processes"], two.facts["processes"]) == (1, 2)
    for entry, expected in zip(two.history, whole.history, strict=True):
        assert entry["train_loss"] == pytest.approx(expected["train_loss"], abs=1e-5)
        assert entry == pytest.approx(expected, rel=1e-3)
    for name, weight in copy_weights(whole.model).items():
        torch.testing.assert_close(copy_weights(two.model)[name], weight, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(two.score(DATA.validation), whole.score(DATA.validation), atol=1e-4)
    assert [step for _, step in told.checkpoints] == [3, 6]
    assert told.checkpoints[-1][0].is_dir()
    assert {"training", "validating"} <= {phase for phase, *_ in told.progress}
