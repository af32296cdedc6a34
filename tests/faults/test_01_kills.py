"""Faults 1 and 2: `kill -9` of the runner or the supervisor before, during and after a commit."""

import signal

import pytest

from postq.crash_points import CrashPoint
from tests.faults.accounting import account, check_invariants, check_no_orphans
from tests.faults.ground import Ground
from tests.faults.stock import Stock

IN_THE_RUNNER = (
    pytest.param(CrashPoint.RUNNER_STARTED, marks=pytest.mark.usual("sqlite-embedded")),
    pytest.param(CrashPoint.RUNNER_MIDWAY, marks=pytest.mark.usual("postgresql-redis")),
    pytest.param(CrashPoint.BEFORE_RESULT, marks=pytest.mark.usual("sqlite-rabbitmq")),
    pytest.param(CrashPoint.AFTER_RESULT, marks=pytest.mark.usual("postgresql-embedded")),
)
IN_THE_SUPERVISOR = (
    pytest.param(CrashPoint.AFTER_CLAIM, marks=pytest.mark.usual("sqlite-redis")),
    pytest.param(CrashPoint.BEFORE_COMMIT, marks=pytest.mark.usual("sqlite-embedded", "postgresql-rabbitmq")),
    pytest.param(CrashPoint.INSIDE_COMMIT, marks=pytest.mark.usual("sqlite-embedded", "postgresql-redis")),
    pytest.param(CrashPoint.AFTER_COMMIT, marks=pytest.mark.usual("postgresql-embedded")),
)


@pytest.mark.fault(1)
@pytest.mark.parametrize("point", IN_THE_RUNNER)
def test_a_killed_runner_costs_one_attempt_and_no_document(
    point: CrashPoint, ground: Ground, stock: Stock
) -> None:
    worker = ground.start_worker(**ground.at(point, nth=2))
    job_id = ground.classify()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    ground.wait_until_reached()
    check_invariants(ground, job_id, digest=stock.digest)
    assert account(ground, job_id).recovered == 10
    assert sorted(one.crashes + one.attempts for one in ground.shards(job_id)) == [0, 0, 0, 0, 0, 1]
    assert worker.drain() == 0
    check_no_orphans(ground.home)


@pytest.mark.fault(1, 2)
@pytest.mark.parametrize("point", IN_THE_SUPERVISOR)
def test_a_killed_supervisor_costs_one_attempt_and_no_document(
    point: CrashPoint, ground: Ground, stock: Stock
) -> None:
    first = ground.start_worker(**ground.at(point, nth=2))
    job_id = ground.classify()
    assert first.process.wait(timeout=60) == -signal.SIGKILL
    check_no_orphans(ground.home)
    second = ground.start_worker()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)
    assert second.drain() == 0
    check_no_orphans(ground.home)


@pytest.mark.fault(2)
@pytest.mark.usual("sqlite-embedded")
def test_a_killed_supervisor_takes_its_busy_runner_along(ground: Ground, stock: Stock) -> None:
    # Given a runner that stands still in the middle of its work, so that it could not notice by itself
    first = ground.start_worker(**ground.at(CrashPoint.RUNNER_MIDWAY, nth=2, signal="STOP"))
    job_id = ground.classify()
    ground.wait_until_reached()
    # When its supervisor is killed
    first.kill()
    # Then it is gone within five seconds, and another worker does the work
    check_no_orphans(ground.home, within=5)
    ground.start_worker()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)
