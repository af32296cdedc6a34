"""Faults 1, 2 and 20 while a worker holds two shards: the one in hand, and the next, claimed ahead."""

import signal

import pytest
import sqlalchemy as sa

from postq.crash_points import CrashPoint
from postq.models.attempt import AttemptOutcome
from postq.models.tables import attempt
from tests.faults.accounting import check_invariants, check_no_orphans, result_digest
from tests.faults.ground import Ground, is_stopped
from tests.faults.stock import add_slow
from tests.waiting import wait_until

DOCUMENTS, SHARD = 60, 20


@pytest.fixture
def slow_job(ground: Ground) -> int:
    """A job of three shards, each of three chunks that take a while, not begun."""
    corpus_id = add_slow(ground, documents=DOCUMENTS)
    ground.settings = ground.settings.model_copy(update={"shard_documents": SHARD})
    return ground.classify(corpus_id=corpus_id)


def attempts(ground: Ground, job_id: int) -> list[tuple[int, AttemptOutcome]]:
    """Shard and outcome of every attempt, in order."""
    query = sa.select(attempt.c.shard_id, attempt.c.outcome).where(attempt.c.job_id == job_id)
    return [(row.shard_id, row.outcome) for row in ground.all(query.order_by(attempt.c.id))]


def quiet_digest(ground: Ground, job_id: int) -> str:
    """The digest of the same classification without any fault."""
    again = ground.classify(corpus_id=ground.job(job_id).corpus_id)
    assert ground.wait_for_end(again) == ["succeeded"]
    return result_digest(ground, again)


@pytest.mark.fault(2)
@pytest.mark.usual("sqlite-embedded", "postgresql-redis")
def test_a_worker_killed_with_two_shards_loses_no_document_of_either(ground: Ground, slow_job: int) -> None:
    first = ground.start_worker(**ground.at(CrashPoint.CLAIMED_AHEAD))
    assert first.process.wait(timeout=60) == -signal.SIGKILL
    check_no_orphans(ground.home)
    assert [outcome for _, outcome in attempts(ground, slow_job)] == ["running", "running"]
    ground.start_worker()
    assert ground.wait_for_end(slow_job) == ["succeeded"]
    check_invariants(ground, slow_job, digest=quiet_digest(ground, slow_job))


@pytest.mark.fault(1)
@pytest.mark.usual("postgresql-embedded")
def test_a_runner_killed_after_the_next_shard_was_claimed_costs_the_shard_in_hand_alone(
    ground: Ground, slow_job: int
) -> None:
    # Given a runner that stands still at its third word of progress; by one before the next shard is claimed
    worker = ground.start_worker(**ground.at(CrashPoint.RUNNER_MIDWAY, nth=3, signal="STOP"))
    ground.wait_until_reached()
    wait_until(lambda: worker.said("The next shard was claimed."), 60, saying="the next shard to be claimed")
    # When it is killed
    worker.runner().kill()
    # Then the shard it was at is done again, and the other one was not touched
    assert ground.wait_for_end(slow_job) == ["succeeded"]
    times = sa.select(attempt.c.started_at, attempt.c.ended_at).where(attempt.c.job_id == slow_job)
    in_hand, following, *_ = ground.all(times.order_by(attempt.c.id))
    assert following.started_at < in_hand.ended_at
    assert [one.crashes for one in ground.shards(slow_job)] == [1, 0, 0]
    check_invariants(ground, slow_job, digest=quiet_digest(ground, slow_job))


@pytest.mark.fault(20)
@pytest.mark.usual("sqlite-rabbitmq")
def test_a_worker_that_drains_gives_both_its_shards_back(ground: Ground, slow_job: int) -> None:
    # Given a worker that stands still with two shards, and is asked to end
    first = ground.start_worker(
        **ground.at(CrashPoint.CLAIMED_AHEAD, signal="STOP"), POSTQ_LEASE_SECONDS="60"
    )
    ground.wait_until_reached()
    wait_until(lambda: is_stopped(first.pid))
    first.send(signal.SIGTERM)
    first.send(signal.SIGCONT)
    assert first.process.wait(timeout=60) == 0
    # Then the one in hand is finished or given back, the other given back, and neither counted
    held = dict(attempts(ground, slow_job))
    one, other, _ = ground.shards(slow_job)
    assert held[one.id] in ("released", "committed")
    assert held[other.id] == "released"
    assert [each.attempts + each.crashes for each in (one, other)] == [0, 0]
    ground.start_worker()
    assert ground.wait_for_end(slow_job) == ["succeeded"]
    check_invariants(ground, slow_job, digest=quiet_digest(ground, slow_job))
