"""Bulk classification with an encoder, from snapshot to stored predictions, beside the bare model loop.

`python -m benchmarks.classify_encoder` builds a Longformer of MiniLM's size, trains it briefly, and measures
(under ten minutes on two quiet cores; `--device cuda:0` for a GPU, `--quick` to try the script).
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.recording import record

TOLERANCE = {"cpu": 1e-4}
ROUNDED_TOLERANCE = 2e-2
"""Largest difference between stored scores and the bare loop's, and the same in bfloat16, in which scores
depend on what shares a batch."""
TRAINING_DOCUMENTS = 60
MAX_TOKENS = 2_048


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", help="cpu, cuda:0 or mps")
    parser.add_argument("--documents", type=int, default=400)
    parser.add_argument("--words", type=int, default=900, help="median words of a document")
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    parser.add_argument("--quick", action="store_true", help="60 short documents, a tiny model, one round")
    parser.add_argument("--bare", nargs=3, metavar="PATH", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.quick:
        given.documents, given.words, given.hidden, given.layers, given.rounds = 60, 200, 96, 2, 1
    return given


class Bench:
    """A home with a trained encoder bundle and one worker on the device asked for."""

    def __init__(self, folder: Path, asked: argparse.Namespace) -> None:
        self.folder = folder
        self.home = folder / "home"
        self._asked = asked
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("POSTQ_")},
            "POSTQ_HOME": str(self.home),
            "POSTQ_CONFIG": os.devnull,
            "POSTQ_POLL_SECONDS": "0.2",
            "POSTQ_LOG_FORMAT": "json",
        }

    def postq(self, *words: object) -> str:
        """Run a command; its standard output."""
        command = [sys.executable, "-m", "postq", *map(str, words)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{words}: {done.stderr}")
        return done.stdout

    def prepare(self) -> None:
        """Corpora, backbone, a short training, and one classification so that worker and runner are warm."""
        for name, count, seed in (("learn", TRAINING_DOCUMENTS, 1), ("score", self._asked.documents, 2)):
            file = self.folder / f"{name}.jsonl"
            shape = ("--documents", count, "--median-words", self._asked.words, "--seed", seed, "--no-flaws")
            self._prepare("corpus", "synthesize", file, *shape)
            self._prepare("corpus", "add", name, file)
        recipe = ("--epochs", 1, "--max-tokens", MAX_TOKENS, "--min-label-count", 5, "--no-baseline")
        recipe += ("--precision", self._asked.precision)
        chosen = ("--preset", "tiny-longformer", "--backbone", self._backbone())
        self._prepare("submit-train", "learn", *chosen, *recipe, "--wait")
        self._prepare("classify-corpus", "score", "--bundle", "job:1", "--wait")

    def _prepare(self, *words: object) -> None:
        """One step, and how long it took: on a new machine any of them may take minutes."""
        began = time.perf_counter()
        self.postq(*words)
        print(f"{' '.join(map(str, words[:2]))}: {time.perf_counter() - began:.1f} s", flush=True)

    def _backbone(self) -> Path:
        from postq.learning.encoder.backbones.tiny import build_tiny_longformer, snapshot_texts

        (snapshot,) = (self.home / "corpora").glob("learn-*")
        return build_tiny_longformer(
            self.folder / "backbone",
            texts=snapshot_texts(snapshot),
            hidden=self._asked.hidden,
            layers=self._asked.layers,
            heads=self._asked.hidden // 32,
            window=128,
            max_tokens=MAX_TOKENS,
        )

    @cached_property
    def bundle(self) -> Path:
        """The folder of the trained bundle."""
        return Path(self.home / json.loads(self.postq("bundles", "show", "job:1", "--json"))["path"])

    @property
    def snapshot(self) -> Path:
        """The folder of the corpus to score."""
        (found,) = (self.home / "corpora").glob("score-*")
        return found

    @property
    def worker_log(self) -> Path:
        """What the worker says, as JSON lines."""
        return self.folder / "worker.log"

    @contextmanager
    def worker(self) -> Iterator[None]:
        """One worker on the device."""
        command = [sys.executable, "-m", "postq", "worker", "--device", self._asked.device]
        with self.worker_log.open("wb") as log:
            process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
            try:
                yield
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait()


def classified(bench: Bench) -> dict[str, float]:
    """Classify the corpus once: seconds of the command, of the worker, and of its parts."""
    began = time.perf_counter()
    answer = bench.postq("classify-corpus", "score", "--bundle", "job:1", "--wait", "--json")
    seconds = time.perf_counter() - began
    number = int(json.loads(answer)["job"])
    heard = [entry for entry in _lines(bench.worker_log) if entry.get("job") == number]
    claims = [_time(entry) for entry in heard if entry["event"] == "A shard was claimed."]
    stored = [entry for entry in heard if entry["event"] == "The result is stored."]
    scored = [entry for entry in runner_lines(bench) if entry["event"] == "The documents were scored."]
    shards = scored[-len(stored) :]
    return {
        "job": float(number),
        "command": seconds,
        "worker": max(map(_time, stored)) - min(claims),
        "storing": sum(entry["seconds"] for entry in stored),
        "documents": sum(entry["documents"] for entry in shards),
        "tokens": sum(entry["tokens"] for entry in shards),
        "batches": sum(entry["batches"] for entry in shards),
        **{
            name: sum(entry[f"{name}_seconds"] for entry in shards)
            for name in ("waiting", "computing", "calling", "tokenising_cpu")
        },
    }


def runner_lines(bench: Bench) -> list[dict[str, Any]]:
    """What the worker's runners logged, file by file."""
    return [entry for log in (bench.home / "logs").glob("runner-*.log") for entry in _lines(log)]


def _lines(log: Path) -> list[dict[str, Any]]:
    found = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("{"):  # libraries write there too
            found.append(json.loads(line))
    return found


def _time(entry: dict[str, Any]) -> float:
    return datetime.fromisoformat(entry["timestamp"]).timestamp()


def bare(bundle_path: Path, snapshot: Path, scores_file: Path, device_label: str) -> dict[str, float]:
    """The same model over the same tokens, ready in memory: seconds of tokenising and of the model alone."""
    import numpy as np

    from postq.corpus.snapshot import read_documents
    from postq.devices import parse_device
    from postq.learning.bundle import open_bundle
    from postq.learning.encoder.forward.inference import document_logits
    from postq.learning.encoder.scoring.scorer import WINDOW_DOCUMENTS, EncoderScorer

    bundle = open_bundle(bundle_path)
    loaded = EncoderScorer(bundle, parse_device(device_label), max_tokens_per_batch=None)
    documents = list(read_documents(snapshot, view=bundle.recipe.text))
    before = time.perf_counter()
    texts = loaded._tokeniser.encode([document.text for document in documents])
    tokenised = time.perf_counter() - before
    scores = np.zeros((len(texts), len(bundle.labels)), np.float32)
    how = {"pooling": loaded._settings.pooling, "precision": loaded._precision}

    def run(some: Sequence[Any]) -> None:
        windows = [some[at : at + WINDOW_DOCUMENTS] for at in range(0, len(some), WINDOW_DOCUMENTS)]
        for indices, logits in document_logits(loaded._runs, windows, budget=loaded._budget, **how):
            scores[indices] = loaded._settings.probabilities(logits)

    run(texts[:8])
    before = time.perf_counter()
    run(texts)
    modelled = time.perf_counter() - before
    np.save(scores_file, scores)
    return {"tokenise": tokenised, "model": modelled}


def bare_process(bench: Bench, asked: argparse.Namespace, threads: int) -> dict[str, float]:
    """The bare loop in a process of its own, with the threads the runner has."""
    paths = (bench.bundle, bench.snapshot, bench.folder / "bare.npy")
    command = [sys.executable, "-m", "benchmarks.classify_encoder", "--device", asked.device]
    command += ["--bare", *map(str, paths)]
    environment = {**bench.environment, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def check_equal(bench: Bench, job: int, *, most: float) -> float:
    """The largest difference between stored scores and the bare loop's; ends the program when too large."""
    import numpy as np

    found = bench.postq("predictions", "export", "-", "--format", "jsonl", "--job", job, "--all-scores")
    stored = np.array(
        [[pair["score"] for pair in json.loads(line)["scores"]] for line in found.splitlines()], np.float32
    )
    difference = float(np.abs(stored - np.load(bench.folder / "bare.npy")).max())
    if not difference <= most:
        raise SystemExit(f"the programs differ by {difference}")
    return difference


def measure(bench: Bench, asked: argparse.Namespace, threads: int) -> tuple[dict[str, Any], float]:
    """Medians over interleaved rounds, and the largest difference between the outputs."""
    runs, loops, off = [], [], 0.0
    most = TOLERANCE.get(asked.device.partition(":")[0], ROUNDED_TOLERANCE)
    with bench.worker():
        began = time.perf_counter()
        bench.prepare()
        print(f"prepared in {time.perf_counter() - began:.0f} s", flush=True)
        for at in range(asked.rounds):
            loops.append(bare_process(bench, asked, threads))
            runs.append(classified(bench))
            off = max(off, check_equal(bench, int(runs[-1]["job"]), most=most))
            print(
                f"round {at + 1}: {loops[-1]['model']:.2f} s bare, {runs[-1]['worker']:.2f} s worker",
                flush=True,
            )
    return _row(runs, loops), off


def _row(runs: list[dict[str, float]], loops: list[dict[str, float]]) -> dict[str, Any]:
    def share(name: str) -> float:
        return round(statistics.median(run[name] / run["worker"] for run in runs), 3)

    pairs = list(zip(runs, loops, strict=True))
    worker = statistics.median(run["worker"] for run in runs)
    return {
        "documents": int(runs[0]["documents"]),
        "tokens": int(runs[0]["tokens"]),
        "batches": int(runs[0]["batches"]),
        "rounds": len(runs),
        "model_loop_s": round(statistics.median(loop["model"] for loop in loops), 2),
        "bare_tokenising_s": round(statistics.median(loop["tokenise"] for loop in loops), 2),
        "worker_s": round(worker, 2),
        "command_s": round(statistics.median(run["command"] for run in runs), 2),
        "worker_docs_s": round(runs[0]["documents"] / worker, 2),
        "share_of_model_loop": round(statistics.median(b["model"] / r["worker"] for r, b in pairs), 3),
        "least_share": round(min(b["model"] / r["worker"] for r, b in pairs), 3),
        "share_with_command": round(statistics.median(b["model"] / r["command"] for r, b in pairs), 3),
        "device_idle_share": round(1 - share("computing"), 3),
        "calling_share": share("calling"),
        "waiting_for_tokens_share": share("waiting"),
        "tokeniser_cpu_share": share("tokenising_cpu"),
        "database_share": share("storing"),
    }


def main() -> None:
    """Measure and record; `--bare` is the process of the bare loop."""
    asked = options()
    if asked.bare:
        bundle, snapshot, scores = map(Path, asked.bare)
        print(json.dumps(bare(bundle, snapshot, scores, asked.device)))
        return
    from postq.devices import usable_cores

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the worker ends too
    threads = int(os.environ.get("OMP_NUM_THREADS", usable_cores()))
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), asked)
        bench.environment["POSTQ_CPU_THREADS"] = str(threads)
        row, difference = measure(bench, asked, threads)
    kind = asked.device.partition(":")[0]
    precision = "" if asked.precision == "auto" else f"_{asked.precision}"
    record(
        f"classify_encoder_{kind}{precision}{'_quick' if asked.quick else ''}",
        [row],
        method=(
            "`postq classify-corpus --wait` on one warm worker with SQLite, beside a loop over the same "
            "bundle and documents that has all tokens ready in memory, runs the same packed model with the "
            "same token budget and stores nothing. worker_s: from the claim of the first shard to the commit "
            "of the last; command_s: the whole command. share_of_model_loop: model_loop_s / worker_s within "
            "a round. Shares of worker_s by the worker's and the runner's clocks; device idle: not in a "
            "forward pass; calling: in calls of the model, which on an accelerator only start its work. "
            f"Medians of interleaved rounds. Scores equal within {difference:.1e}."
        ),
        parameters={**vars(asked), "threads": threads, "max_tokens": MAX_TOKENS},
        device=asked.device,
    )


if __name__ == "__main__":
    main()
