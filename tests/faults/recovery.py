"""How long until work goes on again after a fault: `python -m tests.faults.recovery --times 5`.

Prints milliseconds from the fault to the next attempt's claim, on PostgreSQL, with the quick settings of
the tests: a lease of 3 s, looked after every 0.3 s.
"""
# ruff: noqa: T201  (a program for a terminal)

import argparse
import signal
import statistics
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import psutil
import sqlalchemy as sa

from postq.crash_points import CrashPoint
from postq.db import database_now
from postq.models.tables import attempt
from tests import databases
from tests.faults.ground import Ground, opened_ground
from tests.faults.stock import Stock, make_stock, put_files, put_rows
from tests.services import fresh_postgres_database
from tests.waiting import wait_until


def runner_killed(ground: Ground) -> datetime:
    """The runner alone dies; its own supervisor starts another."""
    worker = busy_worker(ground)
    moment = now(ground)
    worker.kill()
    return moment


def worker_killed(ground: Ground) -> datetime:
    """The whole worker dies; another one waits for the lease to run out."""
    busy_worker(ground)
    ground.start_worker()
    wait_until(lambda: ground.workers[1].said("The worker is ready"), 60)
    moment = now(ground)
    ground.workers[0].kill()
    return moment


def worker_frozen(ground: Ground) -> datetime:
    """The worker stands still; another one waits for the lease to run out."""
    busy_worker(ground)
    ground.start_worker()
    wait_until(lambda: ground.workers[1].said("The worker is ready"), 60)
    moment = now(ground)
    ground.workers[0].send(signal.SIGSTOP)
    return moment


def worker_drained(ground: Ground) -> datetime:
    """The worker is told to end; another one takes over what it gave back."""
    runner = busy_worker(ground)
    ground.start_worker()
    wait_until(lambda: ground.workers[1].said("The worker is ready"), 60)
    moment = now(ground)
    ground.workers[0].send(signal.SIGTERM)
    wait_until(lambda: ground.workers[0].said("The runner is asked to stop"), 60)
    runner.resume()
    return moment


FAULTS: dict[str, Callable[[Ground], datetime]] = {
    "runner killed": runner_killed,
    "worker killed": worker_killed,
    "worker frozen": worker_frozen,
    "worker drained": worker_drained,
}


def busy_worker(ground: Ground) -> psutil.Process:
    """A worker whose runner stands still in the middle of a one-shard job; the runner."""
    worker = ground.start_worker(**ground.at(CrashPoint.RUNNER_MIDWAY, signal="STOP"))
    ground.wait_until_reached()
    return worker.runner()


def now(ground: Ground) -> datetime:
    with ground.database.reading() as session:
        return database_now(session)


def measure(stock: Stock, fault: Callable[[Ground], datetime]) -> float:
    """Milliseconds from one fault to the claim that follows it."""
    with tempfile.TemporaryDirectory(prefix="postq-recovery-") as folder:
        scratch = Path(folder)
        home = scratch / "home"
        home.mkdir()
        put_files(stock, home)
        with (
            fresh_postgres_database() as url,
            opened_ground(scratch, home=home, database_url=url) as ground,
        ):
            databases.lay_schema(url, home=home)
            put_rows(stock, ground.database)
            ground.settings = ground.settings.model_copy(update={"shard_documents": 1000})
            ground.classify()
            moment = fault(ground)
            again = sa.select(attempt.c.started_at).where(attempt.c.shard_id == 1, attempt.c.token == 2)
            wait_until(lambda: ground.all(again), 60, saying="the work to go on")
            return float((ground.one(again)[0] - moment).total_seconds() * 1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory(prefix="postq-stock-") as folder:
        stock = make_stock(Path(folder))
        for name, fault in FAULTS.items():
            found = sorted(measure(stock, fault) for _ in range(times))
            middle = statistics.median(found)
            print(f"{name}: {found[0]:.0f} to {found[-1]:.0f}, median {middle:.0f} ms", flush=True)


if __name__ == "__main__":
    main()
