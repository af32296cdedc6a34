"""Bulk classification from file to stored predictions, beside a bare scikit-learn loop storing nothing."""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import psutil

from benchmarks.recording import record

SIZES = {"1x": 1, "10x": 10, "100x": 100}
BASE_DOCUMENTS = 1000
ROUNDS = {"1x": 5, "10x": 3, "100x": 1}
BATCH = 1000
TOLERANCE = 1e-4
"""Largest difference between the two programs' probabilities."""


class Bench:
    """A home with a trained TF-IDF bundle, a warm worker, and corpora of three sizes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("POSTQ_")},
            "POSTQ_HOME": str(folder / "home"),
            "POSTQ_CONFIG": os.devnull,
            "POSTQ_POLL_SECONDS": "0.2",
        }

    def postq(self, *words: object) -> str:
        """Run a command; its standard output."""
        command = [sys.executable, "-m", "postq", *map(str, words)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{words}: {done.stderr}")
        return done.stdout

    def prepare(self) -> Path:
        """Train on the base corpus and classify it once, so that worker and runner are warm; the bundle."""
        file = self.file("1x")
        self.postq("corpus", "add", "base", file)
        self.postq("submit-train", "base", "--preset", "tfidf", "--set", "regularisation=[4.0]", "--wait")
        self.postq("classify-corpus", "base", "--bundle", "job:1", "--wait")
        bundle = json.loads(self.postq("bundles", "show", "job:1", "--json"))
        return self.folder / "home" / bundle["path"]

    def file(self, size: str) -> Path:
        """The corpus of a size: the base documents over and over, each with an id and a word of its own."""
        path = self.folder / f"{size}.jsonl"
        if not path.exists():
            base = self.folder / "base.jsonl"
            if not base.exists():
                shape = ("--documents", BASE_DOCUMENTS, "--median-words", 200, "--seed", 1, "--no-flaws")
                self.postq("corpus", "synthesize", base, *shape)
            lines = [json.loads(line) for line in base.read_text(encoding="utf-8").splitlines()]
            with path.open("w", encoding="utf-8") as target:
                for copy in range(SIZES[size]):
                    target.writelines(f"{json.dumps(_varied(line, copy))}\n" for line in lines)
        return path

    @contextmanager
    def worker(self) -> Iterator["Watch"]:
        """One CPU worker, and its memory watched."""
        command = [sys.executable, "-m", "postq", "up", "--cpu-workers", "1"]
        log = (self.folder / "up.log").open("wb")
        process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        watch = Watch(process.pid)
        try:
            yield watch
        finally:
            watch.stop()
            process.send_signal(signal.SIGTERM)
            process.wait()
            log.close()


def _varied(line: dict[str, Any], copy: int) -> dict[str, Any]:
    sections = [*line["sections"], {"headtext": "", "paragraphs": [f"Copy number {copy}."]}]
    return {**line, "documentId": f"{line['documentId']}-{copy}", "sections": sections}


class Watch:
    """Samples the resident size of a process tree twenty times a second."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._root = psutil.Process(pid)
        self._going = True
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def fresh(self) -> None:
        """Forget the peak so far."""
        self.peak = 0

    def stop(self) -> None:
        """Sample no more."""
        self._going = False
        self._thread.join()

    def _sample(self) -> None:
        while self._going:
            self.peak = max(self.peak, _tree_bytes(self._root))
            time.sleep(0.05)


def _tree_bytes(root: psutil.Process) -> int:
    total = 0
    try:
        for process in (root, *root.children(recursive=True)):
            total += process.memory_info().rss
    except psutil.Error:
        pass  # it ended between listing and looking
    return total


def end_to_end(bench: Bench, watch: Watch, size: str, number: int) -> dict[str, float]:
    """Seconds of `corpus add` and of `classify-corpus --wait`, and the peak memory of each."""
    name = f"c{size}-{number}"
    watch.fresh()
    started = time.perf_counter()
    adding_peak = _watched(bench, "corpus", "add", name, bench.file(size))
    added = time.perf_counter()
    bench.postq("classify-corpus", name, "--bundle", "job:1", "--wait")
    ended = time.perf_counter()
    return {
        "add": added - started,
        "classify": ended - added,
        "add_peak": adding_peak,
        "worker_peak": float(watch.peak),
    }


def _watched(bench: Bench, *words: object) -> float:
    command = [sys.executable, "-m", "postq", *map(str, words)]
    process = subprocess.Popen(
        command, env=bench.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    watch = Watch(process.pid)
    code = process.wait()
    watch.stop()
    if code != 0:
        raise SystemExit(f"{words} ended with {code}")
    return float(watch.peak)


def bare(bundle: Path, file: Path, scores_file: Path | None) -> tuple[int, float]:
    """The loop a script would have: read, transform, predict, forget; documents and seconds after imports."""
    import numpy as np

    vectoriser, model = _scikit_model(bundle)
    kept = []
    documents = 0
    started = time.perf_counter()
    with file.open(encoding="utf-8") as lines:
        while batch := list(islice(lines, BATCH)):
            texts = [_text(json.loads(line)) for line in batch]
            scores = model.predict_proba(vectoriser.transform(texts))
            documents += len(scores)
            if scores_file is not None:
                kept.append(scores)
    seconds = time.perf_counter() - started
    if scores_file is not None:
        np.save(scores_file, np.concatenate(kept).astype(np.float32))
    return documents, seconds


def _text(record_: Mapping[str, Any]) -> str:
    parts = []
    for section in record_["sections"]:
        parts += [section["headtext"] or "", *section["paragraphs"]]
    return "\n".join(part for part in parts if part)


def _scikit_model(bundle: Path) -> tuple[Any, Any]:
    """The bundle's own vocabulary and weights in scikit-learn's classes: equal work by both programs."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.preprocessing import LabelBinarizer

    from postq.learning.bundle import open_bundle
    from postq.learning.tfidf.model import read_model

    labels = open_bundle(bundle).labels
    found = read_model(bundle, labels=len(labels))
    vectoriser = TfidfVectorizer(
        ngram_range=(1, found.config.ngram_max),
        sublinear_tf=True,
        dtype=np.float32,
        vocabulary=found.vocabulary.features,
    )
    vectoriser.idf_ = found.idf
    model = OneVsRestClassifier(LogisticRegression())
    model.label_binarizer_ = LabelBinarizer(sparse_output=True).fit(np.eye(len(labels), dtype=int))
    model.estimators_ = [_one_label(found, place) for place in range(len(labels))]
    return vectoriser, model


def _one_label(found: Any, place: int) -> Any:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    one = LogisticRegression()
    one.classes_ = np.array([0, 1])
    one.coef_ = np.ascontiguousarray(found.coefficients[:, place][None, :])
    one.intercept_ = found.intercepts[[place]]
    return one


def bare_process(bundle: Path, file: Path, scores_file: Path | None = None) -> float:
    """The bare loop in a fresh process; documents per second of the loop alone."""
    words = ["--bare", str(bundle), str(file), *([str(scores_file)] if scores_file else [])]
    command = [sys.executable, "-m", "benchmarks.classify_end_to_end", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    documents, seconds = json.loads(done.stdout)
    return float(documents / seconds)


def check_equal(bench: Bench, bundle: Path) -> float:
    """The largest difference between stored scores and the bare loop's; ends the program when too large."""
    import numpy as np

    target = bench.folder / "bare.npy"
    bare_process(bundle, bench.file("1x"), target)
    found = bench.postq("predictions", "export", "-", "--format", "jsonl", "--job", 2, "--all-scores")
    stored = np.array(
        [[pair["score"] for pair in json.loads(line)["scores"]] for line in found.splitlines()], np.float32
    )
    difference = float(np.abs(stored - np.load(target)).max())
    if difference > TOLERANCE:
        raise SystemExit(f"the programs differ by {difference}")
    return difference


def measure(folder: Path, sizes: list[str]) -> tuple[list[dict[str, Any]], float]:
    """A row per size, and the largest difference between the outputs."""
    bench = Bench(folder)
    rows = []
    with bench.worker() as watch:
        bundle = bench.prepare()
        difference = check_equal(bench, bundle)
        for size in sizes:
            runs, loops = [], []
            for number in range(ROUNDS[size]):
                loops.append(bare_process(bundle, bench.file(size)))
                runs.append(end_to_end(bench, watch, size, number))
            rows.append(_row(size, runs, loops))
    return rows, difference


def _row(size: str, runs: list[dict[str, float]], loops: list[float]) -> dict[str, Any]:
    documents = BASE_DOCUMENTS * SIZES[size]
    whole = statistics.median(documents / (run["add"] + run["classify"]) for run in runs)
    scoring = statistics.median(documents / run["classify"] for run in runs)
    loop = statistics.median(loops)
    return {
        "size": size,
        "documents": documents,
        "rounds": len(runs),
        "bare_loop_docs_s": round(loop),
        "classify_docs_s": round(scoring),
        "end_to_end_docs_s": round(whole),
        "classify_ratio": round(scoring / loop, 2),
        "end_to_end_ratio": round(whole / loop, 2),
        "add_peak_mb": round(max(run["add_peak"] for run in runs) / 2**20),
        "worker_peak_mb": round(max(run["worker_peak"] for run in runs) / 2**20),
    }


def main() -> None:
    """Measure and record; `--bare` is the process of the bare loop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--bare", nargs="+", type=Path, metavar="PATH", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.bare:
        bundle, file, *scores = given.bare
        print(json.dumps(bare(bundle, file, scores[0] if scores else None)))
        return
    with tempfile.TemporaryDirectory() as name:
        rows, difference = measure(Path(name), given.sizes)
    record(
        "classify_end_to_end",
        rows,
        method=(
            "File of JSON lines to predictions in SQLite. End to end: wall time of `postq corpus add` and "
            "`postq classify-corpus --wait`, both with the start of their processes, one CPU worker running "
            "and warm. Classify: the second command alone. Bare loop: the same vocabulary and weights in "
            "scikit-learn's TfidfVectorizer and OneVsRestClassifier over the same file, batches of "
            f"{BATCH}, after imports, storing nothing. Medians of interleaved rounds; ratios are to the bare "
            f"loop. Outputs equal within {difference:.1e}. Peak memory: resident size of the process tree."
        ),
        parameters={"base_documents": BASE_DOCUMENTS, "rounds": ROUNDS, "batch": BATCH},
    )


if __name__ == "__main__":
    main()
