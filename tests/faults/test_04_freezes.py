"""Faults 4 and 5: SIGSTOP of a worker past its lease, then SIGCONT: what it did in vain is fenced."""

import signal

import pytest
import sqlalchemy as sa

from postq.crash_points import CrashPoint
from postq.models.attempt import AttemptOutcome
from postq.models.tables import attempt
from tests.faults.accounting import check_invariants, check_no_orphans
from tests.faults.ground import Ground, is_stopped
from tests.faults.stock import Stock
from tests.waiting import wait_until


def lost_attempts(ground: Ground) -> list[str]:
    """The ids of workers whose attempt was taken from them."""
    query = sa.select(attempt.c.worker_id).where(attempt.c.outcome == AttemptOutcome.LOST)
    return [row[0] for row in ground.all(query)]


@pytest.mark.fault(4)
@pytest.mark.usual("sqlite-embedded", "postgresql-rabbitmq")
def test_a_worker_frozen_with_its_runner_is_replaced_and_then_fenced(ground: Ground, stock: Stock) -> None:
    # Given a worker and its runner frozen when the result is written but not told
    frozen = ground.start_worker(**ground.at(CrashPoint.AFTER_RESULT, nth=2, signal="STOP"))
    job_id = ground.classify()
    ground.wait_until_reached()
    ground.freeze(frozen)
    # When the lease runs out, another worker does the work, and the first thaws
    ground.start_worker()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    frozen.wake_runner()
    frozen.send(signal.SIGCONT)
    # Then it finds itself fenced, changes nothing, and goes on working
    assert len(lost_attempts(ground)) == 1
    wait_until(lambda: frozen.said("came too late") or frozen.said("The attempt ended."), 30)
    check_invariants(ground, job_id, digest=stock.digest)
    assert [worker.drain() for worker in ground.workers] == [0, 0]
    check_invariants(ground, job_id, digest=stock.digest)
    check_no_orphans(ground.home)


@pytest.mark.fault(5)
@pytest.mark.usual("postgresql-redis")
@pytest.mark.never(sqlite="another of its threads may hold the one write lock at that moment")
def test_a_supervisor_frozen_alone_before_its_commit_is_fenced(ground: Ground, stock: Stock) -> None:
    frozen = ground.start_worker(**ground.at(CrashPoint.BEFORE_COMMIT, nth=2, signal="STOP"))
    job_id = ground.classify()
    ground.wait_until_reached()
    wait_until(lambda: is_stopped(frozen.pid))
    ground.start_worker()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    frozen.send(signal.SIGCONT)
    wait_until(lambda: frozen.said("The result came too late"), 30)
    check_invariants(ground, job_id, digest=stock.digest)
    assert [worker.drain() for worker in ground.workers] == [0, 0]


@pytest.mark.fault(5)
@pytest.mark.usual("sqlite-embedded")
def test_a_supervisor_frozen_while_its_runner_finishes_is_fenced(ground: Ground, stock: Stock) -> None:
    # Given a supervisor frozen outside of any write, its runner midway
    frozen = ground.start_worker(**ground.at(CrashPoint.RUNNER_MIDWAY, nth=2, signal="STOP"))
    job_id = ground.classify()
    ground.wait_until_reached()
    ground.freeze(frozen)
    # When the runner finishes with nobody to hear it, and another worker does the work
    frozen.wake_runner()
    ground.start_worker()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    # Then the supervisor, thawed, stores nothing of what it finds
    frozen.send(signal.SIGCONT)
    wait_until(lambda: frozen.said("came too late") or frozen.said("The lease is lost"), 30)
    assert len(lost_attempts(ground)) == 1
    assert [worker.drain() for worker in ground.workers] == [0, 0]
    check_invariants(ground, job_id, digest=stock.digest)
    check_no_orphans(ground.home)


@pytest.mark.fault(4)
@pytest.mark.usual("sqlite-embedded")
def test_a_runner_frozen_alone_is_killed_as_stalled_and_the_work_done_again(
    ground: Ground, stock: Stock
) -> None:
    stopping = ground.at(CrashPoint.RUNNER_MIDWAY, nth=2, signal="STOP")
    worker = ground.start_worker(**stopping, POSTQ_STALL_SECONDS="2")
    job_id = ground.classify()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    (again,) = [one for one in ground.shards(job_id) if one.crashes]
    assert again.failure == "stalled"
    check_invariants(ground, job_id, digest=stock.digest)
    assert worker.alive()
