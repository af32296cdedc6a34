"""A lease under watch: a runner that says what a test wrote down, a clock that moves when told to."""

import queue
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from postq.contracts.device import Device
from postq.contracts.runner import Progress
from postq.db import Database
from postq.errors import DatabaseUnavailable
from postq.jobs.leases import Lease
from postq.models.tables import event, shard
from postq.settings import Settings
from postq.worker.claims import Claims
from postq.worker.folders import Folders
from postq.worker.look_ahead import LookAhead
from postq.worker.nudging import Nudging
from postq.worker.runner_process import Heard
from postq.worker.watch import Ending, Watch

CPU = Device(kind="cpu", name="cpu", memory_bytes=2**33)


class Clock:
    """A monotonic clock that moves only when a runner says something or the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class ScriptedRunner:
    """Says its lines one after the other; a callable among them is called instead."""

    def __init__(self, *lines: Heard | Callable[[], None], clock: Clock) -> None:
        self._lines = list(lines)
        self._clock = clock
        self.done_to: list[str] = []

    @property
    def heard(self) -> Any:
        return self

    def get(self, timeout: float) -> Heard:
        self._clock.now += timeout
        if not self._lines:
            raise queue.Empty
        line = self._lines.pop(0)
        if callable(line):
            line()
            raise queue.Empty
        return line

    def say(self, line: Heard) -> None:
        self._lines.append(line)

    def ask_to_stop(self) -> None:
        self.done_to.append("ask")

    def terminate(self) -> None:
        self.done_to.append("terminate")

    def kill(self) -> None:
        self.done_to.append("kill")

    def last_words(self) -> str:
        return "its last words"


class Scene:
    """A lease, a clock and a database that can go away."""

    def __init__(self, database: Database, lease: Lease, settings: Settings) -> None:
        self.database = database
        self.lease = lease
        self.settings = settings
        self.folders = Folders(settings.home, tag="0ddba11a")
        self.clock = Clock()
        self.draining = False
        self.away = False
        self.looks_ahead = False
        self.prepared: list[Lease] = []
        self.claims = Claims(
            database=self,  # type: ignore[arg-type]
            settings=settings,
            worker_id="me",
            device=CPU,
            loaded=lambda: lease.sticky,
            nudging=Nudging(settings),
            clock=self.clock,
        )

    @contextmanager
    def transaction(self) -> Any:
        if self.away:
            raise DatabaseUnavailable("The database cannot be used.", hint="Wait.")
        with self.database.transaction() as session:
            yield session

    def reading(self) -> Any:
        return self.database.reading()

    def passes(self, seconds: float) -> Callable[[], None]:
        """A line of a script: time passes."""

        def move() -> None:
            self.clock.now += seconds

        return move

    def watch(
        self, *lines: Heard | Callable[[], None], claimed_ago: float = 0.0
    ) -> tuple[Ending, ScriptedRunner]:
        look_ahead = LookAhead(
            self.lease,
            claims=self.claims,
            settings=self.settings,
            may_claim=lambda: self.looks_ahead,
            prepare=self.prepared.append,
            clock=self.clock,
        )
        runner = ScriptedRunner(*lines, clock=self.clock)
        watching = Watch(
            runner,
            self.lease,
            database=self,  # type: ignore[arg-type]
            settings=self.settings,
            folders=self.folders,
            draining=lambda: self.draining,
            claimed_at=self.clock.now - claimed_ago,
            look_ahead=look_ahead,
            clock=self.clock,
        )
        return watching.until_end(), runner

    def row(self) -> Any:
        with self.database.reading() as session:
            return session.execute(sa.select(shard).where(shard.c.id == self.lease.shard_id)).one()

    def states(self) -> list[str]:
        """Of all shards."""
        with self.database.reading() as session:
            return [*session.scalars(sa.select(shard.c.state).order_by(shard.c.id))]

    def events(self, kind: str) -> list[Any]:
        with self.database.reading() as session:
            return list(session.execute(sa.select(event).where(event.c.type == kind)).all())

    def take_away_lease(self) -> None:
        with self.database.transaction() as session:
            session.execute(sa.update(shard).values(token=shard.c.token + 1))


def progress(done: int, phase: str = "scoring") -> Progress:
    return Progress(phase=phase, done=done, total=10, metrics={"loss": 0.5})
