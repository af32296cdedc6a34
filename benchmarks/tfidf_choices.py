"""What the TF-IDF recipe chooses between, judged on the validation split, so that test stays unseen."""

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._labelled_corpora import CORPORA, require_corpora, split_corpus
from benchmarks.recording import record
from postq.contracts.device import Device
from postq.contracts.recipes import TfidfRecipe
from postq.learning.bundle import open_bundle
from postq.learning.bundle.score_file import ScoredPart, read_scores
from postq.learning.data import TrainingData
from postq.learning.hooks import Hooks
from postq.learning.metrics.counts import summary
from postq.learning.metrics.ranking import mean_average_precision
from postq.learning.thresholds.tuning import tune_thresholds
from postq.learning.training import train_bundle

METHODS = ("global", "shrunk", "micro_macro")
ARMS: dict[str, dict[str, Any]] = {
    "default": {},
    "bm25": {"term_weightings": ("bm25",)},
    "log or bm25": {"term_weightings": ("log", "bm25")},
    "C up to 64": {"regularisation": (4.0, 16.0, 64.0)},
    "C up to 4096": {"regularisation": (4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0)},
    "5 folds": {"folds": 5},
    "20 folds": {"folds": 20},
    "40 folds": {"folds": 40},
}


def measure(arm: str, data: TrainingData, folder: Path, recipe: TfidfRecipe) -> list[dict[str, Any]]:
    """Fit on the training split, tune out of fold, decide the validation documents; one row a method."""
    started = time.process_time()
    output = folder / f"{data.corpus}-{arm}-{recipe.seed}"
    train_bundle(recipe, data, output=output, name="tried", device=Device(kind="cpu"), hooks=Hooks())
    seconds = time.process_time() - started
    parts = read_scores(open_bundle(output).path)
    tuning, judged = parts[("main", "tuning")], parts[("main", "test")]
    precision = mean_average_precision(judged.truth, judged.scores) or 0.0
    shape = {"corpus": data.corpus, "arm": arm, "seed": recipe.seed, "cpu_seconds": round(seconds, 1)}
    figures = {method: _f1(method, tuning, judged, data.labels) for method in METHODS}
    row = {**shape, "map": round(precision, 4), **figures}
    print(row, flush=True)
    return [row]


def _f1(method: str, tuning: ScoredPart, judged: ScoredPart, labels: tuple[str, ...]) -> str:
    thresholds = tune_thresholds(
        tuning.truth,
        tuning.scores,
        labels=labels,
        method=method,  # type: ignore[arg-type]
        score_space="any",
        tuned_on="out_of_fold",
    )
    found = summary(judged.truth, thresholds.decide(judged.scores))
    return f"{found['micro_f1']:.3f}/{found['macro_f1']:.3f}"


def judged_on_validation(name: str, folder: Path, recipe: TfidfRecipe) -> TrainingData:
    """The corpus with its validation split in the place of test, which is left out."""
    data = split_corpus(name, folder, recipe)
    return dataclasses.replace(data, validation=[], test=data.validation, corpus=name)


def main() -> None:
    """Measure every arm with every seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="*", default=list(CORPORA), help=f"of {', '.join(CORPORA)}")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="they move the folds")
    options = parser.parse_args()
    require_corpora()
    base = TfidfRecipe(fit_on="train")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.corpora:
            data = judged_on_validation(name, Path(folder), base)
            for seed in options.seeds:
                for arm in options.arms:
                    recipe = base.model_copy(update={"seed": seed, **ARMS[arm]})
                    rows += measure(arm, data, Path(folder), recipe)
    record(
        "tfidf_choices",
        rows,
        method=(
            "Fitted on the training split alone, thresholds tuned on its out-of-fold scores; mean average "
            "precision and micro-F1/macro-F1 by threshold method on the validation split; test is not read. "
            "The seed moves the folds."
        ),
        parameters={"recipe": base.model_dump(mode="json"), "arms": {arm: ARMS[arm] for arm in options.arms}},
    )


if __name__ == "__main__":
    main()
