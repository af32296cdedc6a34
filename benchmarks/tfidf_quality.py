"""TF-IDF on two real corpora: every threshold method on the same scores, cross-fitted and on test."""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks._labelled_corpora import CORPORA, require_corpora, split_corpus
from benchmarks.recording import record
from postq.contracts.device import Device
from postq.contracts.recipes import TfidfRecipe, ThresholdMethod
from postq.learning.bootstrap import f1_samples, interval
from postq.learning.bundle import open_bundle
from postq.learning.bundle.score_file import ScoredPart, read_scores
from postq.learning.hooks import Hooks
from postq.learning.labels import unlearned_mentions
from postq.learning.metrics.counts import summary
from postq.learning.thresholds.cross_fit import cross_fitted_predictions
from postq.learning.thresholds.tuning import tune_thresholds
from postq.learning.training import train_bundle


def measure(name: str, folder: Path, recipe: TfidfRecipe) -> list[dict[str, Any]]:
    """Train once, then tune by every method on the out-of-fold scores; one row a method."""
    data = split_corpus(name, folder, recipe)
    started = time.perf_counter()
    output = folder / f"bundle-{name}"
    train_bundle(recipe, data, output=output, name=name, device=Device(kind="cpu"), hooks=Hooks())
    seconds = time.perf_counter() - started
    parts = read_scores(open_bundle(output).path)
    unlearned = unlearned_mentions(data.test, data.labels)
    rows = [
        _row(method, parts[("main", "tuning")], parts[("main", "test")], data.labels, unlearned)
        for method in get_args(ThresholdMethod)
    ]
    print(f"{name}: {len(data.labels)} labels, trained and judged in {seconds:.0f} s", flush=True)
    return [{"corpus": name, "labels": len(data.labels), **row} for row in rows]


def _row(
    method: ThresholdMethod, tuning: ScoredPart, test: ScoredPart, labels: tuple[str, ...], unlearned: int
) -> dict[str, Any]:
    thresholds = tune_thresholds(
        tuning.truth,
        tuning.scores,
        labels=labels,
        method=method,
        score_space="any",
        tuned_on="out_of_fold",
    )
    crossed = summary(tuning.truth, cross_fitted_predictions(tuning.truth, tuning.scores, method=method))
    predicted = thresholds.decide(test.scores)
    own = summary(test.truth, predicted, unlearned=unlearned)
    samples = f1_samples(test.truth, predicted)
    return {
        "thresholds": method,
        "cross_fitted": _pair(crossed["micro_f1"], crossed["macro_f1"]),
        "test": _pair(own["micro_f1"], own["macro_f1"]),
        "test_micro_interval": _range(samples.micro),
        "test_macro_interval": _range(samples.macro),
        "test_micro_all_truths": round(own["micro_f1_all_truths"], 3),
        "labels_per_document": round(own["labels_per_document"], 2),
    }


def _pair(micro: float, macro: float) -> str:
    return f"{micro:.3f}/{macro:.3f}"


def _range(samples: np.ndarray) -> str:
    found = interval(samples)
    return f"{found.low:.3f} to {found.high:.3f}"


def main() -> None:
    """Measure the corpora named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="*", default=list(CORPORA), help=f"of {', '.join(CORPORA)}")
    names = parser.parse_args().corpora
    require_corpora()
    recipe = TfidfRecipe()
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for name in names for row in measure(name, Path(folder), recipe)]
    record(
        "tfidf_quality",
        rows,
        method=(
            "micro-F1/macro-F1 over the labels on two or more training documents; the corpora's own splits, "
            "fitted on train and validation, thresholds tuned on out-of-fold scores of those, test used once "
            "per row. `cross_fitted`: each document cut by thresholds that the other documents tuned. "
            "Intervals: 95 % of 2,000 document bootstraps. `test_micro_all_truths` also counts truths "
            "outside the label list."
        ),
        parameters={"recipe": recipe.model_dump(mode="json")},
    )


if __name__ == "__main__":
    main()
