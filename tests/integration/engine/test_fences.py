"""Fences: a worker that lost its lease writes nothing, and nothing is half-written by one that holds it."""

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.errors import IntegrityError
from postq.jobs.commit import StoredCounts, commit
from postq.jobs.leases import (
    Lease,
    ProgressReport,
    record_event,
    register_checkpoint,
    release,
    renew,
)
from postq.jobs.retries import Action
from postq.models.attempt import Attempt, AttemptOutcome
from postq.models.job import JobState
from postq.models.shard import ShardState
from postq.models.tables import prediction
from tests.integration.engine.world import World


@pytest.fixture
def one_shard(world: World) -> World:
    world.add_corpus(4)
    world.add_bundle()
    world.classify(1)
    return world


def renewed(world: World, lease: Lease, progress: ProgressReport | None = None) -> bool:
    with world.session() as session:
        answer = renew(session, lease, now=world.now, lease_seconds=60, progress=progress)
    return answer.held


def outcome_of(world: World, lease: Lease) -> AttemptOutcome:
    with world.database.reading() as session:
        return session.get_one(Attempt, lease.attempt_id).outcome


def stored(world: World) -> int:
    with world.database.reading() as session:
        return session.execute(sa.select(sa.func.count()).select_from(prediction)).scalar_one()


def taken_over(world: World) -> tuple[Lease, Lease]:
    """A frozen worker's lease and that of its successor."""
    frozen = world.must_claim("frozen")
    world.later(61)
    world.maintain()
    return frozen, world.must_claim("successor")


def test_a_renewed_lease_is_never_taken_back(one_shard: World) -> None:
    world = one_shard
    lease = world.must_claim()
    for _ in range(5):
        world.later(45)
        assert renewed(world, lease)
        world.maintain()
    assert world.commit(lease)


def test_progress_moves_its_own_clock_and_a_bare_renewal_does_not(one_shard: World) -> None:
    world = one_shard
    lease = world.must_claim()
    claimed_at = world.now
    world.later(15)
    renewed(world, lease)
    assert world.shards(1)[0].progress_at == claimed_at
    renewed(world, lease, ProgressReport(phase="scoring", done=2, total=4, metrics={"loss": 0.5}))
    shard = world.shards(1)[0]
    assert (shard.progress_at, shard.phase, shard.progress_done) == (world.now, "scoring", 2)
    assert shard.progress_metrics == {"loss": 0.5}


def test_whoever_lost_the_lease_can_write_nothing(one_shard: World) -> None:
    world = one_shard
    frozen, successor = taken_over(world)
    assert not renewed(world, frozen)
    with world.session() as session:
        assert not record_event(session, frozen, type="note", message="late", now=world.now)
        assert not register_checkpoint(session, frozen, "checkpoints/late", 5, world.now)
        assert not release(session, frozen, now=world.now, settings=world.settings)
    assert world.fail(frozen).action is Action.FENCED
    assert not world.commit(frozen)
    assert stored(world) == 0
    assert world.shards(1)[0].token == successor.token
    assert world.commit(successor)
    world.verify_all()


def test_a_late_commit_after_the_lease_ran_out_is_fenced_even_before_a_new_claim(one_shard: World) -> None:
    world = one_shard
    lease = world.must_claim()
    world.later(61)
    world.maintain()
    assert not world.commit(lease)
    assert outcome_of(world, lease) is AttemptOutcome.LOST
    assert stored(world) == 0
    assert world.shards(1)[0].state is ShardState.READY


def test_a_commit_of_a_lease_that_is_over_but_not_taken_back_still_counts(one_shard: World) -> None:
    world = one_shard
    lease = world.must_claim()
    world.later(600)
    assert world.commit(lease)
    assert world.state(1) is JobState.SUCCEEDED


def test_a_commit_whose_answer_was_lost_can_be_repeated_and_stores_once(one_shard: World) -> None:
    world = one_shard
    lease = world.must_claim()
    assert world.commit(lease)
    assert world.commit(lease)
    assert stored(world) == 4
    assert outcome_of(world, lease) is AttemptOutcome.COMMITTED
    world.verify_all()


def test_a_store_that_breaks_leaves_nothing_and_the_lease_as_it_was(one_shard: World) -> None:
    world = one_shard
    lease = world.must_claim()

    def breaks(session: Session, lease: Lease) -> StoredCounts:
        world.store(session, lease, failing={})
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"), world.session() as session:
        commit(session, lease, now=world.now, settings=world.settings, store=breaks)
    assert stored(world) == 0
    assert world.shards(1)[0].state is ShardState.LEASED
    assert world.commit(lease)


def test_a_result_that_leaves_documents_out_is_refused(one_shard: World) -> None:
    world = one_shard
    lease = world.must_claim()
    with pytest.raises(IntegrityError, match="left 4 without either"), world.session() as session:
        commit(
            session,
            lease,
            now=world.now,
            settings=world.settings,
            store=lambda session, lease: StoredCounts(),
        )
    assert world.state(1) is JobState.RUNNING


def test_a_drained_attempt_gives_the_shard_back_at_once_and_does_not_count(one_shard: World) -> None:
    world = one_shard
    lease = world.must_claim()
    with world.session() as session:
        assert release(session, lease, now=world.now, settings=world.settings)
    shard = world.shards(1)[0]
    assert (shard.state, shard.attempts, shard.crashes, shard.not_before) == (ShardState.READY, 0, 0, None)
    assert outcome_of(world, lease) is AttemptOutcome.RELEASED
    assert world.must_claim("another").token == 2


def test_a_checkpoint_of_the_holder_is_where_the_next_attempt_goes_on(world: World) -> None:
    world.add_corpus(4)
    world.train(1)
    lease = world.must_claim()
    with world.session() as session:
        assert register_checkpoint(session, lease, "checkpoints/job-1/token-1/step-10", 10, world.now)
        assert record_event(session, lease, type="detector.shy", message="few labels\x00", now=world.now)
    world.later(61)
    world.maintain()
    again = world.must_claim()
    assert (again.checkpoint, again.checkpoint_step) == ("checkpoints/job-1/token-1/step-10", 10)
