"""What a `kill -9` of one worker every minute costs: documents a second, beside windows without any kill."""

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from benchmarks.load import Stage, prepare, write_documents
from benchmarks.recording import record
from postq.db import Database
from postq.jobs.verify import verify_job
from postq.models.tables import job, worker

CORPUS_DOCUMENTS = 50_000
WARM_SECONDS = 15.0


@contextmanager
def working(stage: Stage) -> Iterator[psutil.Process]:
    """`postq up`, which starts a killed worker again; drained at the end."""
    command = [sys.executable, "-m", "postq", "up", "--cpu-workers", str(stage.workers)]
    with (
        (stage.folder / "up.log").open("w") as log,
        subprocess.Popen(command, env=stage.environment, stdout=log, stderr=log) as process,
    ):
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()


def queue_up(stage: Stage, documents: int) -> list[int]:
    """So many documents waiting, as jobs over one corpus; the jobs."""
    file = stage.folder / "short.jsonl.gz"
    write_documents(file, documents=CORPUS_DOCUMENTS, seed=2)
    stage.postq("corpus", "add", "short", file, "--form", "jsonl")
    jobs = -(-documents // CORPUS_DOCUMENTS)
    return [int(stage.postq("classify-corpus", "short", "--bundle", "load", "--quiet")) for _ in range(jobs)]


def rate(database: Database, seconds: float, *, up: psutil.Process, every: float | None) -> float:
    """Documents predicted a second in a window; with `every`, one worker is killed that often."""
    before, start = _predicted(database), time.monotonic()
    kill_at = start if every is not None else float("inf")
    while (now := time.monotonic()) < start + seconds:
        if now >= kill_at:
            _kill_one(up)
            kill_at += every or 0.0
        time.sleep(0.1)
    return (_predicted(database) - before) / (time.monotonic() - start)


def _kill_one(up: psutil.Process) -> None:
    workers = [child for child in up.children() if "postq.worker" in child.cmdline()]
    if workers:
        random.choice(workers).kill()


def _predicted(database: Database) -> int:
    with database.reading() as session:
        return int(session.execute(sa.select(sa.func.sum(job.c.documents_predicted))).scalar_one())


def run(*, workers: int, documents: int, rounds: int, window: float, every: float) -> list[dict[str, Any]]:
    """Windows in turn, undisturbed and disturbed, under one queue; then every finished job is verified."""
    found: dict[str, list[float]] = {"undisturbed": [], "disturbed": []}
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), workers=workers, shard_documents=1000)
        prepare(stage)
        jobs = queue_up(stage, documents)
        with stage.database() as (database, _):
            with working(stage) as up:
                time.sleep(WARM_SECONDS)
                for _ in range(rounds):
                    found["undisturbed"].append(rate(database, window, up=up, every=None))
                    found["disturbed"].append(rate(database, window, up=up, every=every))
                    print({name: round(values[-1]) for name, values in found.items()}, flush=True)
                _check_not_idle(database)
            started = _verified(database, jobs)
    quiet = statistics.median(found["undisturbed"])
    return [
        {
            "what": name,
            "documents_per_second": statistics.median(values),
            "lowest": min(values),
            "highest": max(values),
            "ratio": statistics.median(values) / quiet,
            "workers_started": started,
        }
        for name, values in found.items()
    ]


def _check_not_idle(database: Database) -> None:
    with database.reading() as session:
        left = session.scalar(sa.select(job.c.id).where(job.c.state == "ready").limit(1))
    if left is None:
        raise SystemExit("The queue ran dry, so the rates mean nothing: give more --documents.")


def _verified(database: Database, jobs: list[int]) -> int:
    """Prove the promises of every job; how many workers were started in all."""
    with database.reading() as session:
        for job_id in jobs:
            problems = verify_job(session, job_id).problems
            assert problems == (), problems
        return int(session.execute(sa.select(sa.func.count()).select_from(worker)).scalar_one())


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--documents", type=int, default=2_000_000, help="queued; more than can be done")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--window", type=float, default=120.0, help="seconds of one window")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two kills")
    parameters = vars(parser.parse_args())
    record(
        "kills",
        run(**parameters),
        method=(
            "Embedded SQLite, TF-IDF, shards of 1,000 short documents, default settings. Documents predicted "
            "in windows without any kill and with `kill -9` of one worker at once and every so many seconds, "
            "in turn under one queue; `postq up` starts it again. Every job is verified at the end."
        ),
        parameters=parameters,
    )


if __name__ == "__main__":
    main()
