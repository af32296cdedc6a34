"""Faults 20 and 22: a worker is told to end, a job is cancelled, at every moment of its life."""

import ctypes
import signal
import sys

import psutil
import pytest
import sqlalchemy as sa

from postq.crash_points import CrashPoint
from postq.db import database_now
from postq.errors import Conflict, SchemaMismatch
from postq.jobs.cancel import cancel
from postq.models.attempt import AttemptOutcome
from postq.models.tables import attempt, worker
from tests.faults.accounting import check_invariants, check_no_orphans
from tests.faults.ground import PATIENT, Ground, is_stopped
from tests.faults.stock import Stock, train_spec
from tests.waiting import wait_until

DRAINED = (
    pytest.param("classify", CrashPoint.RUNNER_STARTED, marks=pytest.mark.usual("sqlite-embedded")),
    pytest.param("train", CrashPoint.RUNNER_MIDWAY, marks=pytest.mark.usual("postgresql-rabbitmq")),
)


@pytest.mark.fault(20)
@pytest.mark.parametrize(("kind", "point"), DRAINED)
def test_a_drained_worker_gives_its_shard_back_uncounted(
    kind: str, point: CrashPoint, ground: Ground
) -> None:
    # Given a runner with its work before it, so that it does not end before it hears of the stop
    first = ground.start_worker(**ground.at(point, signal="STOP"), **PATIENT)
    job_id = ground.classify() if kind == "classify" else ground.train(train_spec())
    ground.wait_until_reached()
    # When the worker is told to end, and the runner gets to its next batch
    first.send(signal.SIGTERM)
    wait_until(lambda: first.said("The runner is asked to stop"), 30)
    first.wake_runner()
    # Then it ends in good order, and the attempt does not count
    assert first.process.wait(timeout=60) == 0
    assert AttemptOutcome.RELEASED in outcomes(ground, job_id) or ground.job(job_id).state == "succeeded"
    assert all((one.attempts, one.crashes) == (0, 0) for one in ground.shards(job_id))
    assert ground.one(sa.select(worker.c.state))[0] == "stopped"
    check_no_orphans(ground.home)
    # And another worker finishes
    ground.start_worker()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id)


@pytest.mark.fault(20)
@pytest.mark.usual("sqlite-embedded", "postgresql-redis")
def test_a_rolling_restart_of_all_workers_under_load_loses_and_counts_nothing(
    ground: Ground, stock: Stock
) -> None:
    # Given two workers at work, and more waiting than they have done when they are told to end
    jobs = [ground.classify() for _ in range(3)]
    old = [ground.start_worker(**PATIENT), ground.start_worker(**PATIENT)]
    # When one after the other is replaced, and jobs keep coming
    for one in old:
        wait_until(lambda one=one: one.said("A shard was claimed"), 60)
        jobs.append(ground.classify())
        ground.start_worker(**PATIENT)
        assert one.drain() == 0
    # Then every document has its prediction, and no attempt was counted as failed
    assert set(ground.wait_for_end(*jobs)) == {"succeeded"}
    check_invariants(ground, *jobs, digest=stock.digest)
    shards = [one for job_id in jobs for one in ground.shards(job_id)]
    assert [(one.id, one.failure, one.error) for one in shards if one.attempts or one.crashes] == []


@pytest.mark.fault(20)
@pytest.mark.usual("sqlite-embedded", "postgresql-rabbitmq")
def test_a_worker_ends_and_says_why_when_the_schema_is_moved_under_it(ground: Ground) -> None:
    running = ground.start_worker()
    wait_until(lambda: running.said("The worker is ready"), 60)
    with ground.database.transaction() as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    late = ground.start_worker()
    for one in (running, late):
        assert one.process.wait(timeout=60) == SchemaMismatch.exit_code
        assert one.said("newer than this postq")


@pytest.mark.fault(20)
@pytest.mark.usual("sqlite-redis")
def test_a_runner_that_does_not_answer_is_ended_when_the_grace_is_over(ground: Ground, stock: Stock) -> None:
    stopping = ground.at(CrashPoint.RUNNER_MIDWAY, signal="STOP")
    first = ground.start_worker(**stopping, POSTQ_DRAIN_SECONDS="1")
    job_id = ground.classify()
    ground.wait_until_reached()
    first.send(signal.SIGTERM)
    assert first.process.wait(timeout=60) == 0
    check_no_orphans(ground.home)
    assert outcomes(ground, job_id) == [AttemptOutcome.RELEASED]
    ground.start_worker()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)


@pytest.mark.fault(20)
@pytest.mark.usual("postgresql-embedded")
def test_a_second_signal_ends_worker_and_runner_at_once(ground: Ground) -> None:
    first = ground.start_worker(**ground.at(CrashPoint.RUNNER_MIDWAY, signal="STOP"))
    job_id = ground.classify()
    ground.wait_until_reached()
    first.send(signal.SIGINT)
    wait_until(lambda: first.said("The runner is asked to stop"), 30)
    first.send(signal.SIGINT)
    assert first.process.wait(timeout=60) == 128 + signal.SIGINT
    check_no_orphans(ground.home)
    ground.start_worker()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id)


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux can send a signal to a thread of another process"
)
@pytest.mark.fault(20)
@pytest.mark.usual("sqlite-embedded")
def test_a_signal_that_another_thread_of_the_worker_takes_is_heeded(ground: Ground) -> None:
    # Given a worker whose first thread, the one Python handles signals in, waits for the others
    worker = ground.start_worker()
    job_id = ground.classify()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    others = [one.id for one in psutil.Process(worker.pid).threads() if one.id != worker.pid]
    # When the kernel hands SIGTERM to one of these
    assert ctypes.CDLL(None).tgkill(worker.pid, others[-1], signal.SIGTERM) == 0
    # Then it ends all the same
    assert worker.process.wait(timeout=60) == 0


@pytest.mark.fault(22)
@pytest.mark.usual("sqlite-embedded")
def test_a_cancelled_job_stops_between_batches_and_keeps_nothing_half_done(ground: Ground) -> None:
    # Given one shard at work and five waiting
    first = ground.start_worker(**ground.at(CrashPoint.RUNNER_MIDWAY, signal="STOP"))
    job_id = ground.classify()
    ground.wait_until_reached()
    # When the job is cancelled, and the runner gets to its next batch
    cancel_job(ground, job_id)
    wait_until(lambda: first.said("The runner is asked to stop"), 30)
    first.wake_runner()
    # Then the job has ended and the worker lives on
    assert ground.wait_for_end(job_id) == ["cancelled"]
    check_invariants(ground, job_id)
    assert first.drain() == 0


@pytest.mark.fault(22)
@pytest.mark.usual("postgresql-embedded")
@pytest.mark.never(sqlite="another thread of the frozen supervisor may hold the one write lock")
def test_a_cancel_that_races_the_last_commit_ends_one_way_or_the_other(ground: Ground, stock: Stock) -> None:
    # Given the supervisor frozen before the commit of the last shard
    first = ground.start_worker(**ground.at(CrashPoint.BEFORE_COMMIT, nth=6, signal="STOP"))
    job_id = ground.classify()
    ground.wait_until_reached()
    wait_until(lambda: is_stopped(first.pid))
    # When the cancel comes first
    cancel_job(ground, job_id)
    first.send(signal.SIGCONT)
    # Then the finished work is kept: nothing was left to cancel
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)
    with pytest.raises(Conflict):
        cancel_job(ground, job_id)


@pytest.mark.fault(22)
@pytest.mark.usual("sqlite-redis", "postgresql-rabbitmq")
def test_a_cancel_that_meets_a_finished_runner_ends_one_way_or_the_other(
    ground: Ground, stock: Stock
) -> None:
    # Given the result of the last shard written, but not told
    first = ground.start_worker(**ground.at(CrashPoint.AFTER_RESULT, nth=6, signal="STOP"))
    job_id = ground.classify()
    ground.wait_until_reached()
    # When the job is cancelled and the runner tells its result at the same time
    cancel_job(ground, job_id)
    first.wake_runner()
    # Then all of it is kept, or the job is cancelled and nothing is half done
    (state,) = ground.wait_for_end(job_id)
    assert state in ("succeeded", "cancelled")
    check_invariants(ground, job_id, digest=stock.digest if state == "succeeded" else None)
    assert first.drain() == 0


@pytest.mark.fault(22)
@pytest.mark.usual("sqlite-embedded", "postgresql-embedded")
def test_blocked_and_waiting_jobs_are_cancelled_without_a_worker(ground: Ground) -> None:
    waiting = ground.classify()
    blocked = ground.classify(after_job_id=waiting)
    for job_id in (blocked, waiting):
        cancel_job(ground, job_id)
    assert ground.wait_for_end(waiting, blocked) == ["cancelled", "cancelled"]
    check_invariants(ground, waiting, blocked)


def cancel_job(ground: Ground, job_id: int) -> None:
    with ground.database.transaction() as session:
        cancel(session, job_id, now=database_now(session), settings=ground.settings)


def outcomes(ground: Ground, job_id: int) -> list[AttemptOutcome]:
    return [row[0] for row in ground.all(sa.select(attempt.c.outcome).where(attempt.c.job_id == job_id))]
