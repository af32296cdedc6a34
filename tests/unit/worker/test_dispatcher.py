"""The dispatcher works until nothing is left, wakes for a nudge, and outlives whatever fails."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from postq.contracts.failure import FailureClass
from postq.db import Database, database_now
from postq.errors import DatabaseUnavailable
from postq.jobs.leases import Lease
from postq.jobs.retries import fail_attempt
from postq.models.tables import attempt, shard
from postq.settings import Settings
from postq.worker import dispatcher as dispatcher_module
from postq.worker.claims import Claimed, Claims
from postq.worker.dispatcher import Dispatcher
from postq.worker.nudging import Nudging
from postq.worker.storing import Storing
from tests.unit.worker.scene import CPU
from tests.waiting import wait_until


class Bench:
    """A dispatcher in a thread that ends every shard at once, or as a test wishes."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.seen: list[Lease] = []
        self.away = False
        self.refusals = 0
        """How many transactions are still to be refused."""
        self.looks = 0
        self.hold = threading.Event()
        self.hold.set()
        self.act: Callable[[Lease], None] = self.end
        self.leave: Callable[[Lease], Callable[[], None]] | None = None
        self.while_idle: Callable[[], None] = lambda: None
        self.claims = Claims(
            database=self,  # type: ignore[arg-type]
            settings=settings,
            worker_id="me",
            device=CPU,
            loaded=lambda: "",
            nudging=Nudging(settings),
        )
        self.dispatcher = Dispatcher(
            settings=settings,
            claims=self.claims,
            storing=Storing(),
            see_through=self._see_through,
            while_idle=lambda: self.while_idle(),
            on_change=lambda: None,
        )
        self.thread = threading.Thread(target=self.dispatcher.run)

    def reading(self) -> Any:
        self.looks += 1
        if self.away:
            raise DatabaseUnavailable("The database cannot be used.", hint="Wait.")
        return self.database.reading()

    def transaction(self) -> Any:
        if self.refusals > 0:
            self.refusals -= 1
            raise DatabaseUnavailable("The database cannot be used.", hint="Wait.")
        return self.database.transaction()

    def end(self, lease: Lease) -> None:
        with self.database.transaction() as session:
            fail_attempt(
                session,
                lease,
                failure=FailureClass.BAD_INPUT,
                message="ended by the test",
                now=database_now(session),
                settings=self.settings,
            )

    def _see_through(self, claimed: Claimed) -> Callable[[], None] | None:
        lease = claimed.lease
        self.seen.append(lease)
        self.hold.wait(30)
        if self.leave is not None:
            return self.leave(lease)
        self.act(lease)
        return None


@contextmanager
def running(database: Database, settings: Settings, *, hold: bool = False, **changes: Any) -> Iterator[Bench]:
    bench = Bench(database, settings.model_copy(update=changes))
    if hold:
        bench.hold.clear()
    bench.thread.start()
    try:
        yield bench
    finally:
        bench.hold.set()
        bench.dispatcher.drain()
        bench.thread.join(30)
        assert not bench.thread.is_alive()


def test_every_ready_shard_is_worked_on_without_a_nudge(
    stocked: Database, settings: Settings, submit_job: Callable[[], int]
) -> None:
    with running(stocked, settings) as bench:
        submit_job()
        wait_until(lambda: len(bench.seen) == 3)
    assert [lease.start_row for lease in bench.seen] == [0, 10, 20]


def test_a_nudge_is_acted_on_long_before_the_next_poll(
    stocked: Database, settings: Settings, submit_job: Callable[[], int]
) -> None:
    with running(stocked, settings, poll_seconds=10_000.0) as bench:
        wait_until(lambda: bench.looks == 1)
        submit_job()
        bench.dispatcher.nudged()
        assert len(bench.seen) == 3


def test_a_nudge_returns_only_when_nothing_is_left(
    stocked: Database, settings: Settings, submit_job: Callable[[], int]
) -> None:
    submit_job()
    with running(stocked, settings) as bench:
        bench.hold.clear()
        wait_until(lambda: bench.seen)
        nudge = threading.Thread(target=bench.dispatcher.nudged)
        nudge.start()
        nudge.join(0.2)
        assert nudge.is_alive()
        bench.hold.set()
        nudge.join(30)
        assert not nudge.is_alive()
        assert len(bench.seen) == 3


def test_a_nudge_in_hand_does_not_hold_up_a_drain(
    stocked: Database, settings: Settings, submit_job: Callable[[], int]
) -> None:
    submit_job()
    with running(stocked, settings) as bench:
        bench.hold.clear()
        wait_until(lambda: bench.seen)
        nudge = threading.Thread(target=bench.dispatcher.nudged)
        nudge.start()
        bench.dispatcher.drain()
        nudge.join(30)
        assert not nudge.is_alive()
    assert len(bench.seen) == 1


def test_an_outage_of_the_database_is_outlived(
    stocked: Database, settings: Settings, submit_job: Callable[[], int]
) -> None:
    with running(stocked, settings) as bench:
        bench.away = True
        looks = bench.looks
        wait_until(lambda: bench.looks > looks + 1)
        submit_job()
        bench.away = False
        wait_until(lambda: len(bench.seen) == 3)


def test_an_error_of_our_own_is_outlived(
    stocked: Database, settings: Settings, submit_job: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "Backoff", _NoWait)
    with running(stocked, settings) as bench:

        def fail_once(lease: Lease) -> None:
            bench.act = bench.end
            raise RuntimeError("a bug")

        bench.act = fail_once
        submit_job()
        wait_until(lambda: len(bench.seen) == 3)
    assert bench.dispatcher.shard_id is None


def test_an_error_while_idle_is_outlived(
    stocked: Database, settings: Settings, submit_job: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "Backoff", _NoWait)
    with running(stocked, settings) as bench:
        failed = threading.Event()

        def fail_once() -> None:
            bench.while_idle = lambda: None
            failed.set()
            raise OSError("the runner could not be let go")

        bench.while_idle = fail_once
        assert failed.wait(30)
        submit_job()
        wait_until(lambda: len(bench.seen) == 3)


class _NoWait:
    def next_seconds(self) -> float:
        return 0.0

    def reset(self) -> None:
        pass


class Shelf:
    """Leaves every attempt's end to be stored, and lets a test hold the storing up."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.stored: list[int] = []
        self.open = threading.Event()
        bench.leave = self.leave

    def leave(self, lease: Lease) -> Callable[[], None]:
        def store() -> None:
            self.open.wait(30)
            self.bench.end(lease)
            self.stored.append(lease.start_row)

        return store


def test_a_result_is_stored_beside_the_next_attempt_and_no_second_one(
    stocked: Database, settings: Settings, submit_job: Callable[[], int]
) -> None:
    submit_job()
    with running(stocked, settings, hold=True) as bench:
        shelf = Shelf(bench)
        bench.hold.set()
        wait_until(lambda: len(bench.seen) == 2)  # the second began while the first is not stored
        assert shelf.stored == []
        bench.thread.join(0.2)
        assert len(bench.seen) == 2  # and the third does not while the second waits to be stored
        shelf.open.set()
        wait_until(lambda: len(shelf.stored) == 3)
    assert [lease.start_row for lease in bench.seen] == shelf.stored == [0, 10, 20]


def test_what_the_last_result_makes_ready_is_worked_on_without_a_poll(
    stocked: Database, settings: Settings, submit_job: Callable[[], int]
) -> None:
    submit_job()
    with running(stocked, settings, hold=True, poll_seconds=10_000.0) as bench:
        shelf = Shelf(bench)
        shelf.open.set()
        end = bench.end

        def end_and_submit(lease: Lease) -> None:
            end(lease)
            if lease.start_row == 20 and len(bench.seen) == 3:
                submit_job()

        bench.end = end_and_submit  # type: ignore[method-assign]
        bench.hold.set()
        wait_until(lambda: len(shelf.stored) == 6)


def test_a_result_is_stored_although_the_database_went_away_meanwhile(
    stocked: Database, settings: Settings, submit_job: Callable[[], int]
) -> None:
    submit_job()
    with running(stocked, settings, hold=True) as bench:
        shelf = Shelf(bench)
        shelf.open.set()
        leave = bench.leave

        def leave_and_lose(lease: Lease) -> Callable[[], None]:
            bench.away = True
            return leave(lease)

        bench.leave = leave_and_lose
        bench.hold.set()
        wait_until(lambda: shelf.stored == [0])
        bench.leave, bench.away = leave, False
        wait_until(lambda: len(shelf.stored) == 3)


def test_a_drain_stores_what_is_done(
    stocked: Database, settings: Settings, submit_job: Callable[[], int]
) -> None:
    submit_job()
    with running(stocked, settings, hold=True) as bench:
        shelf = Shelf(bench)
        wait_until(lambda: bench.seen)
        bench.dispatcher.drain()
        shelf.open.set()
        bench.hold.set()
        bench.thread.join(30)
    assert shelf.stored == [0]


def test_an_error_in_storing_is_outlived(
    stocked: Database, settings: Settings, submit_job: Callable[[], int]
) -> None:
    submit_job()
    with running(stocked, settings, hold=True) as bench:

        def broken(lease: Lease) -> Callable[[], None]:
            def store() -> None:
                bench.end(lease)
                raise ValueError("a fault of ours")

            return store

        bench.leave = broken
        bench.hold.set()
        wait_until(lambda: len(bench.seen) == 3)


def test_the_shard_claimed_ahead_is_the_next_one(
    stocked: Database, settings: Settings, submit_job: Callable[[], int]
) -> None:
    held: list[int] = []
    with running(stocked, settings) as bench:

        def end_and_hold(lease: Lease) -> None:
            following = bench.claims.hold()
            held.extend([] if following is None else [following.start_row])
            bench.end(lease)

        bench.act = end_and_hold
        submit_job()
        wait_until(lambda: len(bench.seen) == 3)
    assert held == [10, 20]
    assert [lease.start_row for lease in bench.seen] == [0, 10, 20]


@pytest.mark.parametrize("refusals", [0, 2])
def test_a_drain_gives_back_what_was_claimed_ahead(
    refusals: int,
    stocked: Database,
    settings: Settings,
    submit_job: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatcher_module, "Backoff", _NoWait)
    with running(stocked, settings) as bench:

        def hold_and_drain(lease: Lease) -> None:
            assert bench.claims.hold() is not None
            bench.dispatcher.drain()
            bench.end(lease)
            bench.refusals = refusals

        bench.act = hold_and_drain
        submit_job()
        bench.thread.join(30)
    assert len(bench.seen) == 1
    with stocked.reading() as session:
        states = session.scalars(sa.select(shard.c.state).order_by(shard.c.id)).all()
        outcomes = session.scalars(sa.select(attempt.c.outcome).order_by(attempt.c.id)).all()
    assert states[1:] == ["ready", "ready"]
    assert outcomes[1:] == ["released"]
