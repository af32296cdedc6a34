"""Fault 25: random jobs under random faults for a while, then a count of what was lost, doubled or left over.

`python -m tests.faults.nemesis --seed 7 --minutes 5 [--database postgres] [--broker redis] [--encoders]`. The
same seed and options make the same plan of jobs and faults; what the machine does between them is its own.
"""
# ruff: noqa: T201  (a program for a terminal)

import argparse
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from postq.contracts.specs import TrainSpec
from postq.corpus.location import Input
from postq.db import database_now
from postq.errors import Conflict
from postq.jobs.cancel import cancel
from postq.models.job import JobState
from postq.models.tables import bundle
from postq.nudges import nudge
from postq.registry.intake import add_corpus
from tests import databases, services
from tests.faults.accounting import (
    Account,
    account,
    check_invariants,
    check_no_orphans,
    owes_every_document,
    result_digest,
)
from tests.faults.ground import Ground, WorkerHandle, opened_ground
from tests.faults.link import Condition, Link
from tests.faults.stock import (
    Stock,
    add_slow,
    make_stock,
    put_files,
    put_rows,
    train_spec,
    write_opinions,
)
from tests.faults.tiny_encoder import build_backbone, encoder_spec

WORKERS = 2
SETTLE_SECONDS = 300.0
MOST_OPEN_JOBS = 6
CUT: tuple[Condition, ...] = ("down", "frozen", "deaf")
POISON = {3: "poisoncrash", 11: "poisonraise"}


@dataclass
class Nemesis:
    """Submits, kills, freezes and cancels as its seed says, and remembers what it did."""

    ground: Ground
    stock: Stock
    seed: int
    cable: Link | None = None
    """The link to the broker, where there is one."""
    encoder: TrainSpec | None = None
    log: list[str] = field(default_factory=list)
    clean: list[int] = field(default_factory=list)
    """Classifications of the clean corpus: their digest must be the fault-free one."""
    slow: list[int] = field(default_factory=list)
    """Classifications whose shards are claimed ahead, also among the other: their digests must be equal."""
    other: list[int] = field(default_factory=list)
    trainings: dict[str, list[int]] = field(default_factory=dict)
    """Name of the bundle → trainings of one and the same spec: their bundles must be equal."""
    frozen: dict[int, threading.Timer] = field(default_factory=dict)
    """Process id → what will thaw it, even while the database keeps everybody waiting for it."""
    drained: set[int] = field(default_factory=set)
    """Process ids of workers that were told to end."""

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        file = write_opinions(self.ground.scratch / "poison.jsonl", poison=POISON, documents=20)
        added = add_corpus(
            self.ground.database, self.ground.settings, name="poison", inputs=[Input(path=str(file))]
        )
        self.poisoned = added.id or 0
        self.lagging = add_slow(self.ground, documents=40)

    def rage(self, seconds: float) -> None:
        """Act at random until the time is over."""
        acts: list[tuple[Callable[[], str], int]] = [
            (self.submit_clean, 5),
            (self.submit_poisoned, 1),
            (self.submit_slow, 2),
            (self.submit_training, 1),
            (self.submit_evaluation, 1),
            (self.cancel_any, 1),
            (self.kill_runner, 4),
            (self.kill_worker, 3),
            (self.freeze, 3),
            (self.drain_worker, 1),
            *([(self.cut_broker, 1), (self.flood, 1)] if self.cable else []),
            *([(self.submit_encoder, 1)] if self.encoder else []),
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
        self.mend_broker()
        self.keep_workers()
        try:
            self.ground.wait_for_end(*self.clean, *self.other, timeout=SETTLE_SECONDS)
        except AssertionError as exc:
            waiting = [job for job in self.jobs() if job.finished_at is None]
            facts = "\n".join(f"job {job.id} is {job.state}: {job.reason}" for job in waiting)
            raise AssertionError(f"{exc}\n{facts}") from exc
        for worker in self.alive():
            # a second signal would end at once a worker that is draining already
            code = worker.process.wait(timeout=60) if worker.pid in self.drained else worker.drain()
            assert code == 0, f"a worker did not end in good order: {code}"
        check_no_orphans(self.ground.home)

    def check(self) -> list[Account]:
        """The invariants of every job; the count of every classification that was not cancelled."""
        for job_id in self.clean:
            done = self.ground.job(job_id).state is not JobState.CANCELLED
            check_invariants(self.ground, job_id, digest=self.stock.digest if done else None)
        check_invariants(self.ground, *self.other)
        self.check_trainings()
        whole = [job.id for job in self.jobs() if job.id in self.slow and job.state == JobState.SUCCEEDED]
        assert len({result_digest(self.ground, job_id) for job_id in whole}) <= 1, "I2: unequal results"
        counted = [job.id for job in self.jobs() if owes_every_document(self.ground, job.id)]
        return [account(self.ground, job_id) for job_id in counted]

    def check_trainings(self) -> None:
        """However often they were killed, equal trainings end in equal bundles."""
        for name, numbers in self.trainings.items():
            bundles = {job.bundle_id for job in self.jobs() if job.id in numbers and job.bundle_id}
            rows = self.ground.all(sa.select(bundle.c.digest).where(bundle.c.id.in_(bundles)))
            assert len({row.digest for row in rows}) <= 1, f"equal trainings of {name} made unequal bundles"

    def jobs(self) -> list[Any]:
        """The rows of all jobs as they are now."""
        return [self.ground.job(number) for number in (*self.clean, *self.other)]

    def submit_clean(self) -> str:
        if self.open_jobs() >= MOST_OPEN_JOBS:
            return "enough is waiting"
        self.clean.append(self.ground.classify())
        return f"submitted classification {self.clean[-1]}"

    def submit_poisoned(self) -> str:
        self.other.append(self.ground.classify(corpus_id=self.poisoned))
        return f"submitted poisonous classification {self.other[-1]}"

    def submit_slow(self) -> str:
        if self.open_jobs() >= MOST_OPEN_JOBS:
            return "enough is waiting"
        self.slow.append(self.ground.classify(corpus_id=self.lagging))
        self.other.append(self.slow[-1])
        return f"submitted slow classification {self.slow[-1]}"

    def submit_training(self) -> str:
        return f"submitted training {self.train(train_spec())}"

    def submit_encoder(self) -> str:
        if self.encoder is None or self.open_jobs() >= MOST_OPEN_JOBS:
            return "enough is waiting"
        trained = self.train(self.encoder)
        self.other.append(self.ground.classify(bundle=f"job:{trained}", after_job_id=trained))
        return f"submitted training of an encoder {trained} and its classification"

    def train(self, spec: TrainSpec) -> int:
        job_id = self.ground.train(spec)
        self.other.append(job_id)
        self.trainings.setdefault(spec.bundle_name, []).append(job_id)
        return job_id

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
        if self.ground.database.is_sqlite:
            self.ground.freeze(victim)
        for pid in targets[: self.dice.choice((1, len(targets)))]:
            with suppress(psutil.NoSuchProcess):
                self.frozen[pid] = threading.Timer(seconds, thaw, [pid])
                psutil.Process(pid).suspend()
                self.frozen[pid].start()
        return f"froze worker {victim.pid} for {seconds:.1f} s"

    def drain_worker(self) -> str:
        victim = self.dice.choice(self.alive())
        self.drained.add(victim.pid)
        victim.send(signal.SIGTERM)
        return f"drained worker {victim.pid}"

    def cut_broker(self) -> str:
        assert self.cable is not None
        seconds = self.dice.uniform(0.5, 10.0)
        condition: Condition = self.dice.choice(CUT)
        self.cable.set(condition)
        threading.Timer(seconds, self.mend_broker).start()
        return f"made the link to the broker {condition} for {seconds:.1f} s"

    def mend_broker(self) -> None:
        if self.cable is not None:
            self.cable.set("up")

    def flood(self) -> str:
        count = self.dice.randrange(1, 30)
        sent = nudge(self.ground.settings, device_kind=self.dice.choice(("any", "cpu")), count=count)
        return f"sent {count} nudges" if sent else "could not send nudges"

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
    scratch: Path,
    *,
    stock: Stock,
    seed: int,
    seconds: float,
    database_url: str | None = None,
    broker_url: str | None = None,
    encoders: bool = False,
) -> tuple[Nemesis, Account]:
    """Rage for so many seconds, settle, check everything; raises AssertionError with the log of acts."""
    home = scratch / "home"
    home.mkdir()
    url = database_url or f"sqlite:///{home / 'postq.db'}"
    databases.lay_schema(url, home=home)
    put_files(stock, home)
    with (
        linked(broker_url) as (cable, broker),
        opened_ground(scratch, home=home, database_url=url, broker_url=broker) as ground,
    ):
        put_rows(stock, ground.database)
        encoder = encoder_spec(build_backbone(scratch / "tiny", stock), epochs=1) if encoders else None
        nemesis = Nemesis(ground, stock, seed, cable=cable, encoder=encoder)
        try:
            nemesis.rage(seconds)
            nemesis.settle()
            return nemesis, _sum(nemesis.check())
        except AssertionError as exc:
            acts = "\n".join(nemesis.log)
            raise AssertionError(f"{exc}\nseed {seed}; what was done:\n{acts}") from exc


@contextmanager
def linked(broker_url: str | None) -> Iterator[tuple[Link | None, str]]:
    """A link to the broker that can be cut, and the URL by way of it."""
    if broker_url is None:
        yield None, "memory://"
        return
    cable = Link.to(broker_url)
    try:
        yield cable, cable.through(broker_url)
    finally:
        cable.close()


def _sum(counts: list[Account]) -> Account:
    return Account(
        lost=sum(one.lost for one in counts),
        duplicated=sum(one.duplicated for one in counts),
        unexpected=sum(one.unexpected for one in counts),
        recovered=sum(one.recovered for one in counts),
    )


def main() -> None:
    """Run from the command line; exit code 1 when a promise was broken. A failed run keeps its folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--broker", choices=("none", "redis", "rabbitmq"), default="none")
    parser.add_argument("--encoders", action="store_true", help="train and use tiny Longformers too")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="postq-nemesis-"))
    try:
        with DATABASES[given.database]() as database, BROKERS[given.broker]() as broker:
            (folder / "stock").mkdir()
            nemesis, counted = run(
                folder,
                stock=make_stock(folder / "stock"),
                seed=given.seed,
                seconds=given.minutes * 60,
                database_url=database,
                broker_url=broker,
                encoders=given.encoders,
            )
    except AssertionError as exc:
        print(f"{exc}\nlogs and files: {folder}")
        sys.exit(1)
    shutil.rmtree(folder)
    jobs = len(nemesis.clean) + len(nemesis.other)
    print(f"{len(nemesis.log)} acts, {jobs} jobs, {len(nemesis.ground.workers)} workers")
    print(
        f"lost {counted.lost}, duplicated {counted.duplicated}, unexpected {counted.unexpected}, "
        f"recovered {counted.recovered}"
    )


Borrowed = Mapping[str, Callable[[], AbstractContextManager[str | None]]]
DATABASES: Borrowed = {"sqlite": nullcontext, "postgres": services.fresh_postgres_database}
BROKERS: Borrowed = {
    "none": nullcontext,
    "redis": services.free_redis_number,
    "rabbitmq": services.fresh_rabbitmq_host,
}


if __name__ == "__main__":
    main()
