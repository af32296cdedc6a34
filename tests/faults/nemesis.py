"""Fault 25: random jobs under random faults for a while, then a count of what was lost, doubled or left over.

`python -m tests.faults.nemesis --seed 7 --minutes 5 [--database URL]`. The same seed makes the same plan of
jobs and faults; what the machine does between them is its own.
"""
# ruff: noqa: T201  (a program for a terminal)

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from postq.corpus.location import Input
from postq.db import database_now
from postq.errors import Conflict
from postq.jobs.cancel import cancel
from postq.models.job import JobState
from postq.registry.intake import add_corpus
from tests import databases
from tests.faults.accounting import Account, account, check_invariants, check_no_orphans
from tests.faults.ground import Ground, WorkerHandle, opened_ground
from tests.faults.stock import Stock, make_stock, put_files, put_rows, train_spec, write_opinions

WORKERS = 2
SETTLE_SECONDS = 300.0
MOST_OPEN_JOBS = 6
POISON = {3: "poisoncrash", 11: "poisonraise"}


@dataclass
class Nemesis:
    """Submits, kills, freezes and cancels as its seed says, and remembers what it did."""

    ground: Ground
    stock: Stock
    seed: int
    log: list[str] = field(default_factory=list)
    clean: list[int] = field(default_factory=list)
    """Classifications of the clean corpus: their digest must be the fault-free one."""
    other: list[int] = field(default_factory=list)
    frozen: dict[int, threading.Timer] = field(default_factory=dict)
    """Process id → what will thaw it, even while the database keeps everybody waiting for it."""

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        file = write_opinions(self.ground.scratch / "poison.jsonl", poison=POISON, documents=20)
        added = add_corpus(
            self.ground.database, self.ground.settings, name="poison", inputs=[Input(path=str(file))]
        )
        self.poisoned = added.id or 0

    def rage(self, seconds: float) -> None:
        """Act at random until the time is over."""
        acts: list[tuple[Callable[[], str], int]] = [
            (self.submit_clean, 5),
            (self.submit_poisoned, 1),
            (self.submit_training, 1),
            (self.submit_evaluation, 1),
            (self.cancel_any, 1),
            (self.kill_runner, 4),
            (self.kill_worker, 3),
            (self.freeze, 3),
            (self.drain_worker, 1),
        ]
        choices, weights = [act for act, _ in acts], [weight for _, weight in acts]
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.keep_workers()
            self.say(self.dice.choices(choices, weights)[0]())
            time.sleep(self.dice.uniform(0.1, 1.5))

    def settle(self) -> None:
        """No more faults: thaw everything and let the work come to its end."""
        for pid, timer in list(self.frozen.items()):
            timer.cancel()
            thaw(pid)
        self.keep_workers()
        self.ground.wait_for_end(*self.clean, *self.other, timeout=SETTLE_SECONDS)
        for worker in self.alive():
            assert worker.drain() == 0, "a worker did not end in good order"
        check_no_orphans(self.ground.home)

    def check(self) -> list[Account]:
        """The invariants of every job; the count of every classification that was not cancelled."""
        for job_id in self.clean:
            done = self.ground.job(job_id).state is not JobState.CANCELLED
            check_invariants(self.ground, job_id, digest=self.stock.digest if done else None)
        check_invariants(self.ground, *self.other)
        jobs = [self.ground.job(number) for number in (*self.clean, *self.other)]
        counted = [job for job in jobs if job.kind == "classify" and job.state is not JobState.CANCELLED]
        return [account(self.ground, job.id) for job in counted]

    def submit_clean(self) -> str:
        if self.open_jobs() >= MOST_OPEN_JOBS:
            return "enough is waiting"
        self.clean.append(self.ground.classify())
        return f"submitted classification {self.clean[-1]}"

    def submit_poisoned(self) -> str:
        self.other.append(self.ground.classify(corpus_id=self.poisoned))
        return f"submitted poisonous classification {self.other[-1]}"

    def submit_training(self) -> str:
        self.other.append(self.ground.train(train_spec()))
        return f"submitted training {self.other[-1]}"

    def submit_evaluation(self) -> str:
        self.other.append(self.ground.evaluate())
        return f"submitted evaluation {self.other[-1]}"

    def cancel_any(self) -> str:
        if not self.clean:
            return "nothing to cancel"
        job_id = self.dice.choice(self.clean)
        try:
            with self.ground.database.transaction() as session:
                cancel(session, job_id, now=database_now(session), settings=self.ground.settings)
        except Conflict:
            return f"job {job_id} had ended before it could be cancelled"
        return f"cancelled job {job_id}"

    def kill_runner(self) -> str:
        runners = [runner for worker in self.alive() for runner in worker.runners()]
        if not runners:
            return "no runner to kill"
        victim = self.dice.choice(runners)
        with suppress(psutil.NoSuchProcess):
            victim.kill()
        return f"killed runner {victim.pid}"

    def kill_worker(self) -> str:
        victim = self.dice.choice(self.alive())
        victim.kill()
        return f"killed worker {victim.pid}"

    def freeze(self) -> str:
        victim = self.dice.choice(self.alive())
        seconds = self.dice.uniform(0.5, 5.0)
        targets = [victim.pid, *(runner.pid for runner in victim.runners())]
        for pid in targets[: self.dice.choice((1, len(targets)))]:
            with suppress(psutil.NoSuchProcess):
                self.frozen[pid] = threading.Timer(seconds, thaw, [pid])
                psutil.Process(pid).suspend()
                self.frozen[pid].start()
        return f"froze worker {victim.pid} for {seconds:.1f} s"

    def drain_worker(self) -> str:
        victim = self.dice.choice(self.alive())
        victim.send(signal.SIGTERM)
        return f"drained worker {victim.pid}"

    def keep_workers(self) -> None:
        """Replace the dead."""
        for _ in range(WORKERS - len(self.alive())):
            self.ground.start_worker()

    def alive(self) -> list[WorkerHandle]:
        return [worker for worker in self.ground.workers if worker.alive()]

    def open_jobs(self) -> int:
        return sum(self.ground.job(number).finished_at is None for number in (*self.clean, *self.other))

    def say(self, words: str) -> None:
        self.log.append(words)


def thaw(pid: int) -> None:
    """Let a frozen process go on, if it still is one."""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(pid).resume()


def run(
    scratch: Path, *, seed: int, seconds: float, database_url: str | None = None
) -> tuple[Nemesis, Account]:
    """Rage for so many seconds, settle, check everything; raises AssertionError with the log of acts."""
    (scratch / "stock").mkdir()
    stock = make_stock(scratch / "stock")
    home = scratch / "home"
    home.mkdir()
    url = database_url or f"sqlite:///{home / 'postq.db'}"
    databases.lay_schema(url, home=home)
    put_files(stock, home)
    with opened_ground(scratch, home=home, database_url=url) as ground:
        put_rows(stock, ground.database)
        nemesis = Nemesis(ground, stock, seed)
        try:
            nemesis.rage(seconds)
            nemesis.settle()
            return nemesis, _sum(nemesis.check())
        except AssertionError as exc:
            acts = "\n".join(nemesis.log)
            raise AssertionError(f"{exc}\nseed {seed}; what was done:\n{acts}") from exc


def _sum(counts: list[Account]) -> Account:
    return Account(
        lost=sum(one.lost for one in counts),
        duplicated=sum(one.duplicated for one in counts),
        unexpected=sum(one.unexpected for one in counts),
        recovered=sum(one.recovered for one in counts),
    )


def main() -> None:
    """Run from the command line; exit code 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--database", help="URL of an empty database; by default a SQLite file")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="postq-nemesis-") as folder:
        try:
            nemesis, counted = run(
                Path(folder), seed=given.seed, seconds=given.minutes * 60, database_url=given.database
            )
        except AssertionError as exc:
            print(exc)
            sys.exit(1)
    jobs = len(nemesis.clean) + len(nemesis.other)
    print(f"{len(nemesis.log)} acts, {jobs} jobs, {len(nemesis.ground.workers)} workers")
    print(
        f"lost {counted.lost}, duplicated {counted.duplicated}, unexpected {counted.unexpected}, "
        f"recovered {counted.recovered}"
    )


if __name__ == "__main__":
    main()
