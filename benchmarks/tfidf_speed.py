"""TF-IDF against plain scikit-learn: fitting all labels, and scoring documents, at equal outputs."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from scipy.special import expit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from benchmarks._labelled_corpora import CORPORA, read_documents, require_corpora, snapshot, split_corpus
from benchmarks.recording import record
from postq.contracts.device import Device
from postq.contracts.document import Document
from postq.contracts.recipes import TfidfRecipe
from postq.learning.bundle import Bundle, open_bundle
from postq.learning.data import TrainingData
from postq.learning.hooks import Hooks
from postq.learning.labels import indicator_matrix
from postq.learning.tfidf.model import TfidfModel, read_model
from postq.learning.tfidf.out_of_fold import Fitter
from postq.learning.tfidf.scorer import TfidfScorer
from postq.learning.tfidf.training import train_tfidf
from postq.learning.training import train_bundle

ROUNDS = 5
FIT_DOCUMENTS = 2_500
"""Training documents of the fitting comparison: scikit-learn takes minutes on more."""
RECIPE = TfidfRecipe(regularisation=(16.0,), folds=2, fit_on="train")


def measure(name: str, folder: Path) -> list[dict[str, Any]]:
    """Rows for features, fitting and scoring of one corpus."""
    data = split_corpus(name, folder, RECIPE)
    output = folder / f"bundle-{name}"
    train_bundle(RECIPE, data, output=output, name=name, device=Device(kind="cpu"), hooks=Hooks())
    bundle = open_bundle(output)
    documents = list(read_documents(snapshot(name, folder)))
    return [
        {"corpus": name, **row}
        for row in (*_fitting(replace(data, train=data.train[:FIT_DOCUMENTS])), *_scoring(bundle, documents))
    ]


def _fitting(data: TrainingData) -> Iterator[dict[str, Any]]:
    """Once each: scikit-learn alone takes minutes."""
    texts = [document.text for document in data.train]
    truth = indicator_matrix(data.train, data.labels)
    usable = (truth.sum(axis=0) > 0) & (truth.sum(axis=0) < len(truth))
    truth = truth[:, usable]
    vectoriser = _plain_vectoriser()
    features, plain_features = _timed(lambda: vectoriser.fit_transform(texts))

    def by_label() -> float:
        models = (LogisticRegression(C=16.0, class_weight="balanced", max_iter=1000) for _ in truth.T)
        return sum(m.fit(features, column).coef_.sum() for m, column in zip(models, truth.T, strict=True))

    def at_once() -> object:
        fitter = Fitter(features, truth, class_weight="balanced")
        return fitter.fit(regularisation=16.0, included=None, start=None)

    once = RECIPE.model_copy(update={"thresholds": "half"})
    _, plain_fit = _timed(by_label)
    _, own_fit = _timed(at_once)
    _, own_all = _timed(lambda: train_tfidf(once, data, hooks=Hooks()))
    size = {"documents": len(texts), "labels": truth.shape[1]}
    yield {
        "what": "features of the training texts",
        **size,
        "program": "scikit-learn",
        "seconds": plain_features,
    }
    yield {
        "what": "fit of all labels",
        **size,
        "program": "scikit-learn, label by label",
        "seconds": plain_fit,
    }
    yield {
        "what": "fit of all labels", **size, "program": "postq, all at once", "seconds": own_fit,
        "ratio": round(plain_fit / own_fit, 1),
    }  # fmt: skip
    yield {
        "what": "features, one fit, and two folds besides", **size, "program": "postq", "seconds": own_all,
        "ratio": round((plain_features + plain_fit) / own_all, 1),
    }  # fmt: skip


def _plain_vectoriser() -> TfidfVectorizer:
    return TfidfVectorizer(
        ngram_range=(1, 2), min_df=2, max_df=0.95, max_features=RECIPE.max_features, sublinear_tf=True,
        dtype=np.float32,
    )  # fmt: skip


def _scoring(bundle: Bundle, documents: list[Document]) -> Iterator[dict[str, Any]]:
    """Interleaved rounds over equal models; outputs are compared first."""
    plain = _plain_scorer(read_model(bundle.path, labels=len(bundle.labels)), len(bundle.labels))
    cores = len(os.sched_getaffinity(0))
    single, pooled = TfidfScorer(bundle, processes=1), TfidfScorer(bundle, processes=cores)
    programs: dict[str, Callable[[], np.ndarray]] = {
        "scikit-learn, label by label": lambda: plain(documents),
        "postq, one process": lambda: _own(single, documents),
        f"postq, {cores} processes": lambda: _own(pooled, documents),
    }
    outputs = [program() for program in programs.values()]
    assert all(np.allclose(outputs[0], other, atol=1e-5) for other in outputs[1:])
    spent: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(ROUNDS):
        for name, program in programs.items():
            spent[name].append(_timed(program)[1])
    pooled.close()
    base = statistics.median(spent["scikit-learn, label by label"])
    for name, seconds in spent.items():
        median = statistics.median(seconds)
        yield {
            "what": "scoring", "documents": len(documents), "labels": len(bundle.labels), "program": name,
            "seconds": round(median, 2), "range": f"{min(seconds):.2f} to {max(seconds):.2f}",
            "documents_per_second": round(len(documents) / median), "ratio": round(base / median, 2),
        }  # fmt: skip


def _plain_scorer(model: TfidfModel, labels: int) -> Callable[[list[Document]], np.ndarray]:
    """The same vocabulary and weights in scikit-learn's own classes, one classifier per label."""
    vectoriser = TfidfVectorizer(
        ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32, vocabulary=model.vocabulary.features
    )
    vectoriser.idf_ = model.idf
    classifiers = []
    for label in range(labels):
        one = LogisticRegression()
        one.classes_ = np.array([False, True])
        one.coef_ = np.ascontiguousarray(model.coefficients[:, label][None, :])
        one.intercept_ = model.intercepts[[label]]
        classifiers.append(one)

    def score(documents: list[Document]) -> np.ndarray:
        rows = vectoriser.transform([document.text for document in documents])
        return np.column_stack([expit(one.decision_function(rows)) for one in classifiers])

    return score


def _own(scorer: TfidfScorer, documents: list[Document]) -> np.ndarray:
    def refuse(failure: object) -> None:
        raise AssertionError(failure)

    return np.concatenate([batch.scores for batch in scorer.score(documents, on_failure=refuse)])


def _timed(program: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    found = program()
    return found, round(time.perf_counter() - started, 3)


def memory(bundle: Path, corpus: Path) -> list[dict[str, Any]]:
    """Peak resident memory of a process tree that scores the corpus 1, 10 and 100 times over."""
    return [
        {"what": "peak memory of scoring", "corpus": corpus.name, **_peak(bundle, corpus, times)}
        for times in (1, 10, 100)
    ]


def _peak(bundle: Path, corpus: Path, times: int) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.tfidf_speed",
        "--score",
        str(bundle),
        str(corpus),
        str(times),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _tree_bytes(process.pid))
        time.sleep(0.05)
    assert process.stdout is not None
    if process.returncode:
        raise SystemExit(process.returncode)
    return {"documents": int(process.stdout.read()), "program": "postq", "peak_mb": round(peak / 2**20)}


def _tree_bytes(pid: int) -> int:
    try:
        root = psutil.Process(pid)
        return sum(each.memory_info().rss for each in (root, *root.children(recursive=True)))
    except psutil.NoSuchProcess:
        return 0


def _score_repeatedly(bundle: Path, corpus: Path, times: int) -> int:
    scorer = TfidfScorer(open_bundle(bundle))
    stream = (document for _ in range(times) for document in read_documents(corpus))
    done = sum(len(batch.rows) for batch in scorer.score(stream, on_failure=print))
    scorer.close()
    return done


def main() -> None:
    """Measure both corpora; `--score` is the process whose memory is watched."""
    if sys.argv[1:2] == ["--score"]:
        print(_score_repeatedly(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])))
        return
    require_corpora()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [row for corpus in CORPORA for row in measure(corpus, folder)]
        rows += memory(folder / "bundle-reuters21578", snapshot("reuters21578", folder))
    record(
        "tfidf_speed",
        rows,
        method=(
            "Documents in memory to scores in memory; equal vocabulary and weights, outputs equal within "
            f"1e-5. Scoring: median of {ROUNDS} interleaved rounds after one warm-up. Fitting: C = 16, "
            "balanced, one run; scikit-learn at its default tolerance, postq at a tighter one. Ratios are to "
            "scikit-learn. Peak memory: resident size of the process tree, 20 samples a second."
        ),
        parameters={"rounds": ROUNDS, "recipe": RECIPE.model_dump(mode="json")},
    )


if __name__ == "__main__":
    main()
