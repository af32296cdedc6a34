"""A supervisor has the next shard read ahead, and begins with what it prepared only for the very lease."""

import queue
import threading
from typing import Any

import pytest

from postq.contracts.failure import FailureClass
from postq.contracts.runner import Failed, Finished, Progress, RunRequest
from postq.db import Database, database_now
from postq.jobs.workers import register_worker
from postq.settings import Settings
from postq.worker.claims import Claimed, Claims
from postq.worker.folders import Folders
from postq.worker.nudging import Nudging
from postq.worker.runner_process import Heard
from postq.worker.storing import Storing
from postq.worker.supervisor import Supervisor
from tests.unit.worker.scene import CPU


class QuickSlot:
    """A slot, and the runner in it, which is nearly done with any request at once and then done."""

    def __init__(self) -> None:
        self.heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self.begun: list[RunRequest] = []
        self.announced: list[RunRequest] = []
        self.last_word: Heard = Finished()
        self.discarded = 0

    def begin(self, request: RunRequest) -> "QuickSlot":
        self.begun.append(request)
        for done in (1, 9):
            self.heard.put(Progress(phase="scoring", done=done, total=10))
        self.heard.put(self.last_word)
        return self

    def discard(self) -> None:
        self.discarded += 1

    def announce(self, request: RunRequest) -> None:
        self.announced.append(request)

    def kill(self) -> None:
        raise AssertionError("nothing is wrong")


class Bench:
    """A supervisor of a quick runner, its claims and its storing."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.slot = QuickSlot()
        self.storing = Storing()
        self.draining = False
        self.claims = Claims(
            database=database,
            settings=settings,
            worker_id="me",
            device=CPU,
            loaded=lambda: "",
            nudging=Nudging(settings),
        )
        self.supervisor = Supervisor(
            database=database,
            settings=settings,
            device=CPU,
            slot=self.slot,  # type: ignore[arg-type]
            folders=Folders(settings.home, tag="0ddba11a"),
            claims=self.claims,
            storing=self.storing,
            nudging=Nudging(settings),
            draining=lambda: self.draining,
        )

    def take(self) -> Claimed:
        taken = self.claims.take()
        assert taken is not None
        return taken

    def see_one_through(self) -> Any:
        return self.supervisor.see_through(self.take())


@pytest.fixture
def bench(stocked: Database, settings: Settings, submit_job: Any) -> Bench:
    """With a job of three shards."""
    submit_job()
    return Bench(stocked, settings)


def test_the_next_shard_is_announced_and_begun_as_it_was(bench: Bench) -> None:
    assert bench.see_one_through() is not None
    (announced,) = bench.slot.announced
    assert announced.start_row == 10
    bench.see_one_through()
    assert bench.slot.begun[1] is announced
    assert announced.output.is_dir()


def test_a_request_prepared_for_a_lease_that_was_given_back_is_not_used(bench: Bench) -> None:
    bench.see_one_through()
    bench.claims.give_back(reason="test")
    bench.see_one_through()
    (first, *_), (_, second) = bench.slot.announced, bench.slot.begun
    assert (first.shard_id, first.token) == (second.shard_id, 1)
    assert second.token == 2
    assert "token-2" in str(second.output)


def test_nothing_is_claimed_ahead_while_a_result_is_being_stored(bench: Bench) -> None:
    stored = threading.Event()
    bench.storing.begin(lambda: stored.wait(30) and None)
    bench.see_one_through()
    assert bench.claims.held_seconds == 0
    stored.set()
    bench.storing.wait()
    bench.see_one_through()
    assert bench.claims.held_seconds > 0


def test_nothing_is_claimed_ahead_of_a_drain(bench: Bench) -> None:
    claimed, bench.draining = bench.take(), True
    bench.slot.ask_to_stop = lambda: None  # type: ignore[attr-defined]
    bench.supervisor.see_through(claimed)
    assert bench.claims.held_seconds == 0


def test_a_job_that_this_worker_cannot_do_is_left_to_another_and_not_claimed_again(
    bench: Bench, stocked: Database
) -> None:
    with stocked.transaction() as session:
        now = database_now(session)
        register_worker(session, worker_id="other", hostname="h", pid=1, device=CPU, version="1", now=now)
    bench.slot.last_word = Failed(failure=FailureClass.UNFIT, message="no torch here", hint="")
    assert bench.see_one_through() is None
    assert bench.slot.discarded == 1
    bench.claims.give_back(reason="test")
    assert bench.claims.take() is None
