"""Load: ten thousand queued jobs, a thousand shards, and a large corpus of short documents to its end."""

import argparse
import gzip
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from benchmarks.recording import record
from postq.contracts.specs import ClassifySpec
from postq.db import Database, database_now, open_database
from postq.jobs.queries import list_jobs
from postq.jobs.submit import submit
from postq.jobs.verify import verify_job
from postq.models.tables import job, prediction
from postq.settings import Settings, load_settings

SUBJECTS = {
    "wheat": "harvest grain tonnes export farmers wheat crop silo bushels mill",
    "crude": "barrel oil crude refinery drilling petroleum pipeline output opec well",
    "money": "bank rate dollar currency central intervention exchange market yen bills",
    "labour": "union strike wages workers employer dismissal tribunal award notice redundancy",
}
FILLER = "the court finds that on appeal it was said and held by this judge in that case"
TRAINING_DOCUMENTS = 400
RUNS = 7
SAMPLE_SECONDS = 0.5
MEGABYTE = 1_000_000
COLUMNS = ("what", "size", "value", "unit", "command_ms", "load")

Row = Mapping[str, Any]


class Stage:
    """A home of its own with a trained TF-IDF bundle, and `postq` as a user runs it."""

    def __init__(self, folder: Path, *, workers: int, shard_documents: int) -> None:
        self.folder = folder
        self.workers = workers
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("POSTQ_")},
            "POSTQ_HOME": str(folder / "home"),
            "POSTQ_CONFIG": os.devnull,
            "POSTQ_SHARD_DOCUMENTS": str(shard_documents),
        }

    def postq(self, *words: object) -> str:
        """Run a command to its end; its standard output."""
        command = [sys.executable, "-m", "postq", *map(str, words)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{words}: {done.stderr}")
        return done.stdout

    @contextmanager
    def database(self) -> Iterator[tuple[Database, Settings]]:
        """The same database and settings inside this process."""
        settings = load_settings(home=self.folder / "home")
        database = open_database(settings)
        try:
            yield database, settings
        finally:
            database.dispose()

    def work(self) -> "Peak":
        """Run workers until every job has ended; the memory they took."""
        command = [sys.executable, "-m", "postq", "up", "--cpu-workers", str(self.workers), "--until-idle"]
        log = (self.folder / "up.log").open("w")
        with log, subprocess.Popen(command, env=self.environment, stdout=log, stderr=log) as process:
            peak = Peak(process.pid)
            code = process.wait()
        if code != 0:
            raise SystemExit((self.folder / "up.log").read_text())
        peak.stop()
        return peak

    def file_bytes(self) -> int:
        """Size of the database with its log."""
        return sum(file.stat().st_size for file in (self.folder / "home").glob("postq.db*"))


class Peak:
    """Samples the resident memory of a process and everything below it, in a thread."""

    def __init__(self, pid: int) -> None:
        self.samples: list[tuple[float, int]] = []
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End sampling."""
        self._over.set()
        self._thread.join()

    def megabytes(self, start: float, stop: float) -> float:
        """Median of the whole tree's resident memory between two shares of the time, shared pages counted
        once for each process that maps them."""
        first, last = self.samples[0][0], self.samples[-1][0]
        begin, end = (first + share * (last - first) for share in (start, stop))
        return statistics.median(size for at, size in self.samples if begin <= at <= end) / MEGABYTE

    def highest(self) -> float:
        """The largest sample, in megabytes."""
        return max(size for _, size in self.samples) / MEGABYTE

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            try:
                tree = [self._process, *self._process.children(recursive=True)]
                self.samples.append((time.monotonic(), sum(one.memory_info().rss for one in tree)))
            except psutil.NoSuchProcess:
                continue


def write_documents(path: Path, *, documents: int, seed: int) -> None:
    """Short documents, of 20 to 60 words on one subject each, as gzipped JSON lines."""
    drawn = random.Random(seed)
    subjects = {name: words.split() for name, words in SUBJECTS.items()}
    filler = FILLER.split()
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as stream:
        for number in range(documents):
            name = drawn.choice(list(subjects))
            words = drawn.choices(subjects[name] + filler, k=drawn.randint(20, 60))
            text = f"document {number} {' '.join(words)}"
            stream.write(json.dumps({"id": f"d{number}", "text": text, "labels": [name]}) + "\n")


def prepare(stage: Stage) -> None:
    """Train the small bundle that everything is classified with."""
    write_documents(stage.folder / "train.jsonl.gz", documents=TRAINING_DOCUMENTS, seed=1)
    stage.postq("corpus", "add", "train", stage.folder / "train.jsonl.gz", "--form", "jsonl")
    stage.postq("submit-train", "train", "--preset", "tfidf", "--name", "load")
    stage.work()


def queued(stage: Stage, jobs: int) -> Iterator[Row]:
    """`postq status` while very many jobs wait: the query alone, and the command as it is typed."""
    with stage.database() as (database, settings):
        yield _queue_row("no job but the training", database, stage, 1)
        spent = _seconds(lambda: _submit_many(database, settings, jobs))
        yield _queue_row("jobs queued", database, stage, jobs)
        yield {"what": "submit of one job", "value": 1000 * spent / jobs, "unit": "ms", "size": jobs}
        with database.transaction() as session:
            session.execute(sa.update(job).where(job.c.state == "ready").values(state="cancelled"))
            session.execute(sa.text("UPDATE shard SET state = 'cancelled' WHERE state = 'ready'"))


def _queue_row(what: str, database: Database, stage: Stage, size: int) -> Row:
    def ask() -> None:
        with database.reading() as session:
            list_jobs(session, limit=100, now=database_now(session), settings=load_settings())

    query = _median_ms(ask)
    command = _median_ms(lambda: stage.postq("status"))
    return {"what": f"status with {what}", "value": query, "unit": "ms", "size": size, "command_ms": command}


def _submit_many(database: Database, settings: Settings, jobs: int) -> None:
    for _ in range(jobs):
        with database.transaction() as session:
            spec = ClassifySpec(corpus_id=1, bundle="load")
            submit(session, spec, settings=settings, now=database_now(session))


def classified(stage: Stage, documents: int) -> Iterator[Row]:
    """A corpus from its file to its last prediction: rates, memory early and late, growth, verification."""
    file = stage.folder / "short.jsonl.gz"
    write_documents(file, documents=documents, seed=2)
    adding = _seconds(lambda: stage.postq("corpus", "add", "short", file, "--form", "jsonl"))
    yield _rate("corpus add", documents, adding)
    before = stage.file_bytes()
    job_id = int(stage.postq("classify-corpus", "short", "--bundle", "load", "--quiet"))
    start = time.perf_counter()
    peak = stage.work()
    yield _rate("classified to the end", documents, time.perf_counter() - start)
    yield {
        "what": "memory in the second quarter",
        "value": peak.megabytes(0.25, 0.5),
        "unit": "MB",
    }
    yield {"what": "memory in the last quarter", "value": peak.megabytes(0.75, 1), "unit": "MB"}
    yield {"what": "memory at its highest", "value": peak.highest(), "unit": "MB"}
    growth = (stage.file_bytes() - before) / documents
    yield {"what": "database growth a prediction", "value": growth, "unit": "bytes", "size": documents}
    yield from _verified(stage, job_id, documents)


def _verified(stage: Stage, job_id: int, documents: int) -> Iterator[Row]:
    with stage.database() as (database, _), database.reading() as session:
        shards = session.execute(
            sa.text("SELECT count(*) FROM shard WHERE job_id = :job AND state = 'done'"), {"job": job_id}
        ).scalar_one()
        stored = session.scalar(
            sa.select(sa.func.count()).select_from(prediction).where(prediction.c.job_id == job_id)
        )
        start = time.perf_counter()
        found = verify_job(session, job_id)
        spent = time.perf_counter() - start
    assert found.problems == (), found.problems
    assert stored == documents
    yield {"what": "shards done", "value": shards, "unit": "shards", "size": documents}
    yield _rate("verified", documents, spent)


def _rate(what: str, documents: int, seconds: float) -> Row:
    return {"what": what, "value": documents / seconds, "unit": "documents/s", "size": documents}


def _seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def _median_ms(act: Callable[[], object]) -> float:
    act()
    return 1000 * statistics.median(_seconds(act) for _ in range(RUNS))


def run(*, jobs: int, documents: int, workers: int, shard_documents: int) -> list[Row]:
    """Every row of the table, each with the machine's load when it was measured."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), workers=workers, shard_documents=shard_documents)
        prepare(stage)
        rows: list[Row] = []
        for row in chain(classified(stage, documents), queued(stage, jobs)):
            shown = {"size": None, "command_ms": None, **row, "load": round(os.getloadavg()[0], 1)}
            print(shown, flush=True)
            rows.append(
                {name: shown[name] for name in ("what", "size", "value", "unit", "command_ms", "load")}
            )
        return rows


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shard-documents", type=int, default=200)
    parser.add_argument("--full", action="store_true", help="10,000 jobs, 1,000,000 documents, 8 workers")
    given = parser.parse_args()
    sizes = {name: getattr(given, name) for name in ("jobs", "documents", "workers", "shard_documents")}
    if given.full:
        sizes = {"jobs": 10_000, "documents": 1_000_000, "workers": 8, "shard_documents": 1000}
    record(
        "load",
        run(**sizes),
        method=(
            "Embedded SQLite in a home of its own. `status` is the median of the query that lists 100 jobs, "
            "in this process, beside the whole command with its start; rates are wall time of real commands "
            "and workers; memory is the resident size of `postq up` and all below it, sampled twice a second."
        ),
        parameters=sizes,
    )


if __name__ == "__main__":
    main()
