"""A training for all devices is left to workers that own several, as long as one that it fits lives."""

import pytest

from postq.contracts.device import Device
from postq.contracts.failure import FailureClass
from postq.contracts.specs import Requirements
from postq.jobs.claims import anything_ready
from postq.jobs.queries import job_view
from postq.jobs.retries import Action
from postq.jobs.workers import heartbeat, mark_stopped, register_worker
from tests.integration.engine.world import CPU, GPU, World

GPUS = GPU.model_copy(update={"count": 2})
CPUS = CPU.model_copy(update={"count": 4})


@pytest.fixture
def stocked_world(world: World) -> World:
    world.add_corpus(12)
    world.add_bundle()
    return world


def start(world: World, worker_id: str, device: Device) -> None:
    with world.session() as session:
        register_worker(
            session,
            worker_id=worker_id,
            hostname="here",
            pid=1,
            device=device,
            version="0.1.0",
            now=world.now,
        )


def say(world: World, worker_id: str, state: str) -> None:
    with world.session() as session:
        heartbeat(session, worker_id, state=state, shard_id=None, now=world.now)


def reason(world: World, job_id: int) -> str:
    with world.database.reading() as session:
        return job_view(session, job_id, now=world.now, settings=world.settings).reason


def may_take(world: World, device: Device) -> bool:
    with world.database.reading() as session:
        return anything_ready(session, device=device, now=world.now, settings=world.settings)


@pytest.mark.parametrize("state", ["idle", "busy"])
def test_a_worker_with_one_device_leaves_it_to_one_with_several(state: str, stocked_world: World) -> None:
    world = stocked_world
    job_id = world.train_on_all(1)
    start(world, "one", GPU)
    start(world, "several", GPUS)
    say(world, "several", state)
    assert not may_take(world, GPU)
    assert world.claim("one", device=GPU) is None
    assert world.must_claim("several", device=GPUS).job_id == job_id


def test_other_work_is_not_left_to_anybody(stocked_world: World) -> None:
    world = stocked_world
    world.train_on_all(1, priority=1)
    training, scoring = world.train(1), world.classify(1)
    start(world, "several", GPUS)
    assert [world.must_claim("one", device=GPU).job_id for _ in range(2)] == [training, scoring]


def test_without_an_owner_of_several_it_runs_on_one(stocked_world: World) -> None:
    world = stocked_world
    job_id = world.train_on_all(1)
    start(world, "one", GPU)
    assert world.must_claim("one", device=GPU).job_id == job_id


@pytest.mark.parametrize("ending", ["draining", "stopped", "silent"])
def test_an_owner_that_ends_or_is_gone_is_not_waited_for(ending: str, stocked_world: World) -> None:
    world = stocked_world
    world.train_on_all(1)
    start(world, "several", GPUS)
    if ending == "draining":
        say(world, "several", "draining")
    elif ending == "stopped":
        with world.session() as session:
            mark_stopped(session, "several", now=world.now)
    else:
        world.later(3600)
    assert world.claim("one", device=GPU) is not None


def test_an_owner_that_said_it_cannot_do_it_is_not_waited_for(stocked_world: World) -> None:
    world = stocked_world
    job_id = world.train_on_all(1)
    start(world, "one", GPU)
    start(world, "several", GPUS)
    say(world, "several", "idle")
    lease = world.must_claim("several", device=GPUS)
    assert world.fail(lease, FailureClass.UNFIT, "no torch here").action is Action.RETRY
    say(world, "one", "busy")
    assert reason(world, job_id) == "waits for a worker: 1 worker that fits is busy"
    assert may_take(world, GPU)
    assert world.must_claim("one", device=GPU).job_id == job_id


def test_an_owner_the_job_does_not_fit_is_not_waited_for(stocked_world: World) -> None:
    world = stocked_world
    needs = Requirements(device_kind="cuda", memory_bytes=60_000_000_000)
    world.train_on_all(1, requirements=needs)
    start(world, "small", GPUS.model_copy(update={"memory_bytes": 24_000_000_000}))
    start(world, "slow", CPUS.model_copy(update={"memory_bytes": 200_000_000_000}))
    assert world.claim("one", device=GPU) is not None


def test_a_gpu_leaves_nothing_to_several_processes_on_a_cpu_but_a_cpu_does(stocked_world: World) -> None:
    world = stocked_world
    world.train_on_all(1)
    start(world, "several", CPUS)
    assert may_take(world, GPU)
    assert not may_take(world, CPU)
    assert may_take(world, CPUS)


def test_the_reason_names_the_worker_it_waits_for(stocked_world: World) -> None:
    world = stocked_world
    job_id = world.train_on_all(1)
    start(world, "one", GPU)
    assert reason(world, job_id) == "waits for a worker: about to be claimed"
    start(world, "several", GPUS)
    say(world, "several", "busy")
    assert reason(world, job_id) == (
        "waits for a worker that owns several devices: 1 worker that fits is busy"
    )
    assert "several" not in reason(world, world.train(1))
    say(world, "several", "draining")
    assert reason(world, job_id) == "waits for a worker: about to be claimed"
