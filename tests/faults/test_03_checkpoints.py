"""Fault 3: a training killed in the middle of an epoch and of every step of writing a checkpoint."""

import signal

import pytest
import sqlalchemy as sa

from postq.crash_points import CrashPoint
from postq.models.tables import event, shard
from tests.faults.accounting import bundle_digest, check_invariants, check_no_orphans
from tests.faults.ground import Ground, WorkerHandle
from tests.faults.tiny_encoder import TrainedEncoder, encoder_spec
from tests.waiting import wait_until

pytest.importorskip("torch")
CRASHES = (
    (CrashPoint.BEFORE_CHECKPOINT_RENAME, 1, "runner"),
    (CrashPoint.AFTER_CHECKPOINT_RENAME, 1, "runner"),
    (CrashPoint.BEFORE_CHECKPOINT_REGISTERED, 1, "supervisor"),
    (CrashPoint.BEFORE_CHECKPOINT_RENAME, 2, "runner"),
)
"""Each kills one process; the training goes on from whatever was registered before."""
UNHURRIED = {"POSTQ_BACKOFF_SECONDS": "600"}
"""For a worker that is not to start another runner after the one that was killed."""


def let_go_on(ground: Ground, job_id: int) -> None:
    """Take the wait after a failure away."""
    with ground.database.transaction() as session:
        session.execute(sa.update(shard).where(shard.c.job_id == job_id).values(not_before=None))


def wait_for_words(worker: WorkerHandle, words: str) -> None:
    wait_until(lambda: worker.said(words), 60, saying=words)


@pytest.mark.slow
@pytest.mark.fault(3)
@pytest.mark.usual("sqlite-embedded")
def test_a_training_killed_at_every_step_of_a_checkpoint_ends_as_if_nothing_had_been(
    ground: Ground, trained_encoder: TrainedEncoder
) -> None:
    # Given a training of which it is known how it ends when nothing happens
    disturbed = ground.train(encoder_spec(trained_encoder.backbone))
    # When it is killed again and again, and at last drained between two batches
    for number, (point, nth, process) in enumerate(CRASHES):
        again = {**ground.at(point, nth=nth), "POSTQ_CRASH_ONCE": str(ground.scratch / f"crash-{number}")}
        waits = {} if number == len(CRASHES) - 1 else UNHURRIED
        worker = ground.start_worker(**again, **waits, POSTQ_CRASH_BUDGET="10")
        wait_until((ground.scratch / f"crash-{number}").exists, 240, saying=f"{point} to be reached")
        if process == "supervisor":
            assert worker.process.wait(timeout=60) == -signal.SIGKILL
        else:
            wait_for_words(worker, '"followed_by": "retry"')
            assert worker.drain() == 0
            let_go_on(ground, disturbed)
        check_no_orphans(ground.home)
    ground.start_worker()
    assert ground.wait_for_end(disturbed, timeout=240) == ["succeeded"]
    # Then its bundle is the same to the last bit, and work was resumed rather than begun anew
    assert bundle_digest(ground, disturbed) == trained_encoder.digest
    assert ground.all(sa.select(event.c.id).where(event.c.job_id == disturbed, event.c.type == "checkpoint"))
    check_invariants(ground, disturbed)
    wait_until(lambda: not list((ground.home / "checkpoints").glob("job-*")), 30)


@pytest.mark.slow
@pytest.mark.fault(20)
@pytest.mark.usual("postgresql-redis")
def test_a_drained_encoder_training_leaves_a_checkpoint_and_is_resumed(
    ground: Ground, trained_encoder: TrainedEncoder
) -> None:
    # Given a runner between two optimizer steps
    spec = encoder_spec(trained_encoder.backbone)
    first = ground.start_worker(**ground.at(CrashPoint.TRAINING_STEP, nth=2, signal="STOP"))
    job_id = ground.train(spec)
    ground.wait_until_reached(timeout=240)
    # When the worker is told to end, and the runner gets to its next batch
    first.send(signal.SIGTERM)
    wait_until(lambda: first.said("The runner is asked to stop"), 30)
    first.wake_runner()
    assert first.process.wait(timeout=120) == 0
    # Then a checkpoint is kept, the attempt does not count, and another worker goes on from there
    shard = ground.shards(job_id)[0]
    assert (shard.state, shard.attempts, shard.crashes) == ("ready", 0, 0)
    assert shard.checkpoint is not None
    ground.start_worker()
    assert ground.wait_for_end(job_id, timeout=240) == ["succeeded"]
    check_invariants(ground, job_id)
