"""Fault 1 for a training in two processes: one of them, what started them, or the worker is killed."""

import psutil
import pytest
import sqlalchemy as sa

from postq.crash_points import CrashPoint
from postq.models.tables import attempt
from tests.faults.accounting import bundle_digest, check_invariants, check_no_orphans
from tests.faults.ground import Ground, WorkerHandle, lives, runners_of
from tests.faults.tiny_encoder import TrainedEncoder, encoder_spec
from tests.waiting import wait_until

pytest.importorskip("torch")
TWO_PROCESSES = "cpu:2"
SECOND_EPOCH = 7
"""An optimizer step of the second epoch: six make one here, at whose end a checkpoint is written."""

VICTIMS = (
    pytest.param("rank", ["failed", "committed"], marks=pytest.mark.usual()),
    pytest.param("runner", ["failed", "committed"], marks=pytest.mark.usual()),
    pytest.param("worker", ["lost", "committed"], marks=pytest.mark.usual()),
)
"""Who is killed, and how the attempts end."""


def frozen_rank(ground: Ground) -> psutil.Process:
    """The rank that came first to the crash point and stands still there."""

    def stopped() -> psutil.Process | None:
        family = filter(lives, runners_of(ground.home))
        return next((one for one in family if one.status() == psutil.STATUS_STOPPED), None)

    rank = wait_until(stopped, 30, saying="a rank to stand still")
    assert rank is not None
    return rank


def kill(victim: str, ground: Ground, worker: WorkerHandle) -> None:
    """Kill one of worker, runner and ranks, and wait until the runner and its ranks are gone."""
    rank, family = frozen_rank(ground), runners_of(ground.home)
    if victim == "worker":
        worker.kill()
    elif victim == "runner":
        next(one for one in family if "postq.worker.runner" in one.cmdline()).kill()
    else:
        rank.kill()
    wait_until(lambda: not any(map(lives, family)), 30, saying="I6: every process of the attempt to be gone")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault(1, 3)
@pytest.mark.parametrize(("victim", "outcomes"), VICTIMS, ids=["rank", "runner", "worker"])
def test_a_training_in_two_processes_that_was_killed_goes_on_and_ends_as_if_nothing_had_been(
    victim: str, outcomes: list[str], ground: Ground, trained_encoder: TrainedEncoder
) -> None:
    # Given how the training ends when nothing happens
    spec = encoder_spec(trained_encoder.backbone).model_copy(update={"devices": "all"})
    undisturbed = ground.train(spec)
    quiet = ground.start_worker(device=TWO_PROCESSES)
    assert ground.wait_for_end(undisturbed, timeout=240) == ["succeeded"]
    assert quiet.drain() == 0
    # When somebody is killed while a rank stands still beyond the first checkpoint
    disturbed = ground.train(spec)
    freezing = ground.at(CrashPoint.TRAINING_STEP, nth=SECOND_EPOCH, signal="STOP")
    worker = ground.start_worker(device=TWO_PROCESSES, **freezing)
    ground.wait_until_reached(timeout=240)
    wait_until(lambda: ground.shards(disturbed)[0].checkpoint, 30, saying="a checkpoint to be registered")
    kill(victim, ground, worker)
    # Then one attempt is lost, the next goes on from there and ends in the same bundle to the last bit
    last = ground.start_worker(device=TWO_PROCESSES) if victim == "worker" else worker
    assert ground.wait_for_end(disturbed, timeout=240) == ["succeeded"]
    made = sa.select(attempt.c.outcome).where(attempt.c.job_id == disturbed).order_by(attempt.c.id)
    assert [row.outcome for row in ground.all(made)] == outcomes
    assert bundle_digest(ground, disturbed) == bundle_digest(ground, undisturbed)
    check_invariants(ground, undisturbed, disturbed)
    assert last.drain() == 0
    check_no_orphans(ground.home)
