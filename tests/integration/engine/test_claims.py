"""Claiming: the right shard for a device, one owner each, whatever the crowd."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from postq.contracts.failure import FailureClass
from postq.contracts.specs import Requirements
from postq.jobs.claims import STICKY_PATIENCE, anything_ready
from postq.jobs.leases import Lease
from postq.models.attempt import Attempt, AttemptOutcome
from postq.models.bundle import BundleRow
from postq.models.job import JobState
from tests.integration.engine.world import CPU, GPU, World


@pytest.fixture
def scored_world(world: World) -> World:
    world.add_corpus(10)
    world.add_bundle()
    return world


def test_a_claim_leases_the_shard_and_starts_the_job(scored_world: World) -> None:
    world = scored_world
    job_id = world.classify(1)
    lease = world.must_claim("w1")
    assert (lease.job_id, lease.token, lease.start_row, lease.stop_row) == (job_id, 1, 0, 3)
    assert lease.lease_until > world.now
    assert world.state(job_id) is JobState.RUNNING
    with world.database.reading() as session:
        attempt = session.get_one(Attempt, lease.attempt_id)
    assert (attempt.outcome, attempt.worker_id, attempt.device) == (AttemptOutcome.RUNNING, "w1", "cpu")


def test_lower_priority_numbers_go_first_then_older_jobs(scored_world: World) -> None:
    world = scored_world
    old, new, urgent = world.classify(1), world.classify(1), world.classify(1, priority=1)
    order = [world.must_claim().job_id for _ in range(9)]
    assert order == [urgent] * 3 + [old] * 3 + [new] * 3
    assert world.claim() is None


def test_only_a_device_that_fits_gets_the_shard(scored_world: World) -> None:
    world = scored_world
    large = Requirements(device_kind="cuda", memory_bytes=20_000_000_000)
    job_id = world.classify(1, requirements=large)
    small = GPU.model_copy(update={"memory_bytes": 8_000_000_000})
    assert world.claim(device=CPU) is None
    assert world.claim(device=small) is None
    with world.database.reading() as session:
        assert not anything_ready(session, device=small, now=world.now, settings=world.settings)
        assert anything_ready(session, device=GPU, now=world.now, settings=world.settings)
    assert world.must_claim(device=GPU).job_id == job_id


def test_a_worker_keeps_to_the_bundle_it_has_loaded_until_another_waited_too_long(
    scored_world: World,
) -> None:
    world = scored_world
    world.add_bundle("other", weights="w2")
    first = world.classify(1)
    second = world.classify(1, "other")
    with world.database.reading() as session:
        loaded = session.get_one(BundleRow, 2).digest
    assert world.must_claim(sticky=loaded).job_id == second
    assert world.must_claim(sticky="something else").job_id == first
    world.later(STICKY_PATIENCE.total_seconds() + 1)
    assert world.must_claim(sticky=loaded).job_id == first


def test_being_loaded_never_beats_priority(scored_world: World) -> None:
    world = scored_world
    world.add_bundle("other", weights="w2")
    world.classify(1, "other")
    urgent = world.classify(1, priority=1)
    with world.database.reading() as session:
        loaded = session.get_one(BundleRow, 2).digest
    assert world.must_claim(sticky=loaded).job_id == urgent


def test_a_shard_that_waits_to_be_retried_is_left_alone_until_its_time(scored_world: World) -> None:
    world = scored_world
    world.train(1)
    lease = world.must_claim()
    outcome = world.fail(lease, FailureClass.ERROR)
    assert outcome.not_before is not None
    assert world.claim() is None
    world.now = outcome.not_before
    assert world.must_claim().token == lease.token + 1


def test_a_crowd_of_workers_never_shares_a_shard(world: World) -> None:
    world.add_corpus(160)
    world.add_bundle()
    world.classify(1)

    def drain(name: str) -> list[Lease]:
        held = []
        while (lease := world.claim(name)) is not None:
            held.append(lease)
        return held

    with ThreadPoolExecutor(8) as pool:
        leases = [lease for held in pool.map(drain, [f"w{n}" for n in range(8)]) for lease in held]
    missed = world.claim("late")  # a claim may miss a row another claim was holding; polling finds it
    while missed is not None:
        leases.append(missed)
        missed = world.claim("late")
    claimed = Counter(lease.shard_id for lease in leases)
    assert len(claimed) == 40
    assert set(claimed.values()) == {1}
    with world.database.reading() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Attempt)) == 40
    world.verify_all()
