"""From submit to the start of its attempt: how long a job waits for an idle worker, embedded and on Redis."""

import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.recording import record

JOBS = 15
REDIS = "redis://127.0.0.1:6379/14"
QUERY = """SELECT job.created_at, attempt.started_at FROM job JOIN attempt ON attempt.job_id = job.id
WHERE job.kind = 'classify' ORDER BY job.id"""


def measure(broker: str) -> list[float]:
    """Milliseconds from submit to start of each job, by the database's clock, default settings."""
    with tempfile.TemporaryDirectory(prefix="postq-latency-") as folder:
        home = Path(folder) / "home"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("POSTQ_")}
        environment = {**clean, "POSTQ_HOME": str(home), "POSTQ_BROKER_URL": broker}

        def postq(*words: str) -> None:
            command = [sys.executable, "-m", "postq", *words]
            subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True)

        postq("corpus", "synthesize", "few.jsonl", "--documents", "120", "--median-words", "100")
        postq("corpus", "add", "few", "few.jsonl")
        command = [sys.executable, "-m", "postq.worker", "--device", "cpu"]
        worker = subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.DEVNULL)
        try:
            postq("submit-train", "few", "--preset", "tfidf", "--set", "regularisation=[4.0]", "--wait")
            for number in range(JOBS):
                postq("classify-corpus", "few", "--bundle", "job:1", "--wait")
                time.sleep(0.07 * number)  # so that submits meet every moment between two polls
        finally:
            worker.terminate()
            worker.wait(60)
        with closing(sqlite3.connect(home / "postq.db")) as raw:
            return [_milliseconds(*row) for row in raw.execute(QUERY)]


def _milliseconds(created: str, started: str) -> float:
    return (datetime.fromisoformat(started) - datetime.fromisoformat(created)).total_seconds() * 1000


def main() -> None:
    """Measure both and record the table."""
    rows: list[dict[str, Any]] = []
    for name, broker in (("embedded, polls every second", "memory://"), ("with Redis, nudged", REDIS)):
        found = measure(broker)
        rows.append(
            {
                "broker": name,
                "jobs": len(found),
                "median_ms": round(statistics.median(found), 1),
                "fastest_ms": round(min(found), 1),
                "slowest_ms": round(max(found), 1),
            }
        )
    record(
        "start_latency",
        rows,
        method="One idle CPU worker with default settings; jobs submitted one after the other through the "
        "command line; from the job's row to the attempt's, by the database's clock (SQLite).",
        parameters={"jobs": JOBS},
    )


if __name__ == "__main__":
    main()
