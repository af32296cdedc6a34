"""Cancelling and retrying: in each state, racing the end, and for those that wait."""

import pytest
from sqlalchemy.orm import Session

from postq.contracts.failure import FailureClass
from postq.errors import Conflict, NotFound
from postq.jobs.cancel import cancel
from postq.jobs.claims import claim
from postq.jobs.leases import Lease, Renewal, held_by, release, renew
from postq.jobs.prune import forget_job
from postq.jobs.queries import job_view
from postq.jobs.retries import Action
from postq.jobs.retry import retry_job
from postq.jobs.states import move_shards
from postq.models.job import JobState
from postq.models.shard import ShardState
from tests.integration.engine.crossing import Crossed, only_postgres
from tests.integration.engine.world import CPU, World


@pytest.fixture
def two_shards(world: World) -> World:
    world.add_corpus(8)
    world.add_bundle()
    world.classify(1)
    return world


def ask_to_cancel(world: World, job_id: int = 1) -> JobState:
    with world.session() as session:
        return cancel(session, job_id, now=world.now, settings=world.settings)


def retry(world: World, job_id: int = 1) -> JobState:
    with world.session() as session:
        return retry_job(session, job_id, now=world.now, settings=world.settings)


def renewal(world: World, lease: Lease) -> Renewal:
    with world.session() as session:
        return renew(session, lease, now=world.now, lease_seconds=60)


def give_back(world: World, lease: Lease) -> bool:
    with world.session() as session:
        return release(session, lease, now=world.now, settings=world.settings)


def test_a_ready_job_is_cancelled_at_once(two_shards: World) -> None:
    assert ask_to_cancel(two_shards) is JobState.CANCELLED
    assert two_shards.claim() is None
    two_shards.verify_all()


def test_a_job_whose_worker_is_gone_is_cancelled_at_once(two_shards: World) -> None:
    world = two_shards
    lease = world.must_claim()
    assert ask_to_cancel(world) is JobState.RUNNING
    world.later(world.settings.lease_seconds + 1)
    with world.database.reading() as session:
        reason = job_view(session, 1, now=world.now, settings=world.settings).reason
    assert reason == "is being cancelled: its worker is gone; cancel it again, or start a worker"
    assert ask_to_cancel(world) is JobState.CANCELLED
    assert not renewal(world, lease).held
    world.verify_all()


def test_a_running_job_stops_when_its_workers_renew(two_shards: World) -> None:
    world = two_shards
    lease = world.must_claim()
    assert ask_to_cancel(world) is JobState.RUNNING
    assert world.claim("w2") is None
    assert renewal(world, lease) == Renewal(held=True, stop="cancel")
    assert give_back(world, lease)
    assert world.state(1) is JobState.CANCELLED
    world.verify_all()


def test_a_commit_that_is_faster_than_the_cancel_keeps_its_result(two_shards: World) -> None:
    world = two_shards
    first, second = world.must_claim("w1"), world.must_claim("w2")
    ask_to_cancel(world)
    assert world.commit(first)
    assert world.commit(second)
    assert world.state(1) is JobState.SUCCEEDED
    world.verify_all()


def test_a_commit_of_a_job_that_has_lost_shards_to_the_cancel_ends_cancelled(two_shards: World) -> None:
    world = two_shards
    lease = world.must_claim()
    ask_to_cancel(world)
    assert world.commit(lease)
    found = world.job(1)
    assert (found.state, found.documents_predicted) == (JobState.CANCELLED, 4)
    world.verify_all()


def test_a_failure_during_a_cancel_is_not_tried_again(two_shards: World) -> None:
    world = two_shards
    lease = world.must_claim()
    ask_to_cancel(world)
    assert world.fail(lease).action is Action.CANCELLED
    assert world.state(1) is JobState.CANCELLED
    world.verify_all()


def test_a_worker_that_died_during_a_cancel_holds_the_job_no_longer_than_its_lease(two_shards: World) -> None:
    world = two_shards
    world.must_claim()
    ask_to_cancel(world)
    world.later(61)
    world.maintain()
    assert world.state(1) is JobState.CANCELLED
    world.verify_all()


def test_a_shard_the_cancel_could_not_reach_is_stopped_by_maintenance(two_shards: World) -> None:
    world = two_shards
    lease = world.must_claim()
    ask_to_cancel(world)
    with world.session() as session:  # as if it came back in the moment of the cancel
        move_shards(
            session, *held_by(lease), source=ShardState.LEASED, target=ShardState.READY, now=world.now
        )
    assert world.claim() is None
    world.maintain()
    assert world.state(1) is JobState.CANCELLED


def test_blocked_jobs_are_cancelled_with_their_reason(world: World) -> None:
    corpus = world.add_corpus(4)
    training = world.train(corpus)
    evaluation = world.evaluate(corpus, f"job:{training}")
    scoring = world.classify(corpus, f"job:{training}", after_job_id=evaluation)
    assert ask_to_cancel(world, evaluation) is JobState.CANCELLED
    assert world.state(training) is JobState.READY
    assert world.job(scoring).reason == f"job {evaluation}, which it waited for, was cancelled"
    world.verify_all()


def test_cancelling_twice_is_harmless_and_cancelling_what_has_ended_is_refused(two_shards: World) -> None:
    world = two_shards
    world.must_claim()
    assert ask_to_cancel(world) is ask_to_cancel(world) is JobState.RUNNING
    world.later(61)
    world.maintain()
    assert ask_to_cancel(world) is JobState.CANCELLED
    done = world.classify(1)
    world.work_off()
    with pytest.raises(Conflict, match="already ended"):
        ask_to_cancel(world, done)
    with pytest.raises(NotFound):
        ask_to_cancel(world, 99)


def test_a_retry_does_only_what_is_missing(two_shards: World) -> None:
    world = two_shards
    world.fail(world.must_claim(), FailureClass.INTEGRITY, "damaged")
    world.work_off()
    assert world.state(1) is JobState.FAILED
    assert retry(world) is JobState.READY
    assert (world.job(1).error, world.shards(1)[0].error) == (None, None)
    assert world.work_off() == 1
    assert world.state(1) is JobState.SUCCEEDED
    assert world.job(1).documents_predicted == 8
    world.verify_all()


def test_a_cancelled_job_can_be_taken_up_again(two_shards: World) -> None:
    world = two_shards
    world.commit(world.must_claim())
    ask_to_cancel(world)
    assert retry(world) is JobState.READY
    world.work_off()
    assert world.state(1) is JobState.SUCCEEDED
    world.verify_all()


def test_a_retry_after_poison_keeps_what_was_quarantined(world: World) -> None:
    world.add_corpus(8)
    world.add_bundle()
    world.classify(1)
    broken = world.must_claim()
    world.work_off(poison=frozenset({6}))
    world.later(61)
    world.fail(broken, FailureClass.BAD_INPUT)
    retry(world)
    world.work_off()
    assert world.state(1) is JobState.SUCCEEDED_WITH_QUARANTINE
    world.verify_all()


def test_a_job_that_fell_with_another_waits_again_once_that_one_is_retried(world: World) -> None:
    corpus = world.add_corpus(4)
    training = world.train(corpus)
    scoring = world.classify(corpus, f"job:{training}")
    world.fail(world.must_claim(), FailureClass.BAD_INPUT)
    with pytest.raises(Conflict, match=f"waits for job {training}"):
        retry(world, scoring)
    retry(world, training)
    assert retry(world, scoring) is JobState.BLOCKED
    world.work_off()
    assert world.state(scoring) is JobState.SUCCEEDED
    world.verify_all()


def test_only_failed_and_cancelled_jobs_are_retried(two_shards: World) -> None:
    with pytest.raises(Conflict, match="only a failed or cancelled job"):
        retry(two_shards)
    with pytest.raises(NotFound):
        retry(two_shards, 99)


@only_postgres
def test_of_two_retries_at_once_the_second_is_told_what_the_first_made_of_the_job(
    two_shards: World, crossed: Crossed
) -> None:
    world = two_shards
    ask_to_cancel(world)

    def retry_and_start(session: Session) -> None:
        retry_job(session, 1, now=world.now, settings=world.settings)
        claim(session, worker_id="w1", device=CPU, sticky="", now=world.now, settings=world.settings)

    refused = crossed.refused(retry_and_start, lambda: retry(world))
    assert isinstance(refused, Conflict)
    assert "Job 1 is running" in refused.message
    assert world.state(1) is JobState.RUNNING


@only_postgres
def test_a_retry_of_a_job_never_planned_is_told_of_the_other_one_too(world: World, crossed: Crossed) -> None:
    world.add_corpus(4)
    training = world.train(1)
    follower = world.classify(1, f"job:{training}")
    world.fail(world.must_claim(), FailureClass.BAD_INPUT)
    retry(world, training)
    world.work_off()

    def retry_first(session: Session) -> None:
        retry_job(session, follower, now=world.now, settings=world.settings)

    refused = crossed.refused(retry_first, lambda: retry(world, follower))
    assert isinstance(refused, Conflict)
    assert world.state(follower) is JobState.READY


@only_postgres
def test_a_job_that_is_being_pruned_is_not_found_by_who_would_cancel_it(
    two_shards: World, crossed: Crossed
) -> None:
    ask_to_cancel(two_shards)
    refused = crossed.refused(lambda session: forget_job(session, 1), lambda: ask_to_cancel(two_shards))
    assert isinstance(refused, NotFound)
