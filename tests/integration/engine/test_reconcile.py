"""Maintenance: what it takes back, whom it wakes, and what it forgets."""

from datetime import timedelta

import pytest

from postq.contracts.specs import Requirements
from postq.jobs.leases import release
from postq.jobs.reconcile import (
    KEEP_WORKERS,
    ended_attempts,
    expire_leases,
    find_unnudged,
    forget_stale_workers,
)
from postq.jobs.workers import heartbeat, live_workers, mark_stopped, register_worker
from postq.models.attempt import Attempt, AttemptOutcome
from postq.models.shard import ShardState
from tests.integration.engine.world import CPU, World


@pytest.fixture
def two_shards(world: World) -> World:
    world.add_corpus(8)
    world.add_bundle()
    world.classify(1)
    return world


def start_worker(world: World, worker_id: str = "w1") -> None:
    with world.session() as session:
        register_worker(
            session,
            worker_id=worker_id,
            hostname="here",
            pid=1,
            device=CPU,
            version="0.1.0",
            now=world.now,
        )


def alive(world: World) -> list[str]:
    with world.database.reading() as session:
        return [one.id for one in live_workers(session, now=world.now, settings=world.settings)]


def test_only_leases_that_ran_out_are_taken_back(two_shards: World) -> None:
    world = two_shards
    old = world.must_claim("w1")
    world.later(40)
    world.must_claim("w2")
    world.later(21)
    with world.session() as session:
        counts = expire_leases(session, now=world.now, settings=world.settings)
    assert counts.changed == 1
    assert "any" in counts.device_kinds
    assert [one.state for one in world.shards(1)] == [ShardState.READY, ShardState.LEASED]
    assert world.shards(1)[0].attempts == 1
    with world.database.reading() as session:
        assert session.get_one(Attempt, old.attempt_id).outcome is AttemptOutcome.LOST
    assert world.must_claim("w3").shard_id == old.shard_id  # at once, without waiting


def test_shards_ready_for_half_a_minute_are_worth_another_nudge(world: World) -> None:
    world.add_corpus(8)
    world.add_bundle()
    world.classify(1, requirements=Requirements(device_kind="cuda"))
    world.later(29)
    world.classify(1)
    world.later(2)
    with world.session() as session:
        counts = find_unnudged(session, now=world.now, settings=world.settings)
    assert (counts.changed, counts.device_kinds) == (0, ("cuda",))


def test_a_worker_is_live_while_it_is_heard_of(world: World) -> None:
    start_worker(world, "w1")
    start_worker(world, "w2")
    world.later(100)
    with world.session() as session:
        assert heartbeat(session, "w1", state="busy", shard_id=3, now=world.now)
    world.later(100)
    assert alive(world) == ["w1"]
    with world.session() as session:
        assert forget_stale_workers(session, now=world.now, settings=world.settings).changed == 1
        mark_stopped(session, "w1", now=world.now)
    assert alive(world) == []
    with world.session() as session:  # a frozen one that was taken for dead speaks again
        assert heartbeat(session, "w2", state="idle", shard_id=None, now=world.now)
    assert alive(world) == ["w2"]


def test_rows_of_workers_long_stopped_are_deleted(world: World) -> None:
    start_worker(world)
    world.now += KEEP_WORKERS + timedelta(seconds=1)
    world.maintain()
    with world.session() as session:
        assert not heartbeat(session, "w1", state="idle", shard_id=None, now=world.now)


def test_folders_of_ended_attempts_can_go_and_those_of_running_ones_stay(two_shards: World) -> None:
    world = two_shards
    ended, running = world.must_claim("w1"), world.must_claim("w2")
    with world.session() as session:
        release(session, ended, now=world.now, settings=world.settings)
    folders = [(ended.shard_id, ended.token), (running.shard_id, running.token), (99, 1)]
    with world.database.reading() as session:
        assert ended_attempts(session, folders) == [(ended.shard_id, ended.token), (99, 1)]


def test_a_pass_over_a_quiet_database_changes_nothing(two_shards: World) -> None:
    world = two_shards
    before = [one.model_dump() for one in world.shards(1)]
    for _ in range(3):
        world.maintain()
    assert [one.model_dump() for one in world.shards(1)] == before
    world.verify_all()
