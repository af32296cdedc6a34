"""Fault 14: the disk is full for results, checkpoints and the database; all goes on once there is room."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from postq.contracts.failure import FailureClass
from postq.crash_points import CrashPoint
from postq.models.attempt import AttemptOutcome
from postq.models.tables import attempt
from tests.faults.accounting import bundle_digest, check_invariants
from tests.faults.ground import PATIENT, Ground, WorkerHandle
from tests.faults.stock import Stock
from tests.faults.tiny_encoder import TrainedEncoder, encoder_spec
from tests.waiting import wait_until

SECOND_EPOCH = 7
"""An optimizer step of the second epoch of the tiny encoder: six make one, at whose end is a checkpoint."""


@pytest.fixture
def small_disk(isolated_settings: Path) -> Iterator[Path]:
    """A file system of 48 megabytes at the place of home."""
    isolated_settings.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m,mode=750", "postq-test", str(isolated_settings)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not mount a small file system to fill up")
    try:
        yield isolated_settings
    finally:
        subprocess.run(["umount", "--lazy", str(isolated_settings)], check=True)


def fill(disk: Path, *, leaving_bytes: int = 0) -> Path:
    """Write until nothing more fits but the bytes left; the file that holds the room."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            file.truncate(file.tell() - leaving_bytes)
            return ballast


@pytest.mark.fault(14)
@pytest.mark.usual("sqlite-embedded")
@pytest.mark.never(
    postgresql="its disk is the server's own affair; without room for its log it stops, as in fault 10"
)
def test_a_full_disk_costs_time_and_nothing_else(small_disk: Path, ground: Ground, stock: Stock) -> None:
    # Given database and results on a small disk, and a runner in the middle of its work
    worker = ground.start_worker(**ground.at(CrashPoint.RUNNER_MIDWAY, nth=2, signal="STOP"))
    job_id = ground.classify()
    ground.wait_until_reached()
    # When the disk is full to the last byte
    ballast = fill(small_disk)
    worker.wake_runner()
    wait_until(lambda: worker.said("The database is away"), 60, saying="the database to refuse a write")
    # Then the worker waits, and all is done once there is room
    assert worker.alive()
    ballast.unlink()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)
    assert worker.drain() == 0


@pytest.mark.fault(14)
@pytest.mark.usual("postgresql-redis")
@pytest.mark.never(sqlite="the database lies on that disk too, which is staged by itself")
def test_a_disk_full_for_results_only_is_told_and_tried_again(
    small_disk: Path, ground: Ground, stock: Stock
) -> None:
    ballast = fill(small_disk)
    ground.start_worker()
    job_id = ground.classify()
    wait_until(
        lambda: any(one.failure == "disk_full" for one in ground.shards(job_id)),
        60,
        saying="an attempt to fail for the full disk",
    )
    ballast.unlink()
    assert ground.wait_for_end(job_id, timeout=120) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault(14)
@pytest.mark.usual
def test_a_disk_that_fills_up_in_the_middle_of_a_checkpoint_costs_an_attempt_and_changes_no_bit(
    small_disk: Path, ground: Ground, trained_encoder: TrainedEncoder
) -> None:
    # Given a training beyond its first checkpoint, and room for half of another
    disturbed, worker = trained_past_a_checkpoint(ground, trained_encoder)
    registered = ground.home / ground.shards(disturbed)[0].checkpoint
    whole = sum(file.stat().st_size for file in registered.iterdir())
    ballast = fill(small_disk, leaving_bytes=whole // 2)
    # When the next checkpoint does not fit
    worker.wake_runner()
    wait_until(lambda: ground.shards(disturbed)[0].failure == FailureClass.DISK_FULL, 240)
    # Then what was written of it is gone, and the one before is still the one to go on from
    assert [path.name for path in registered.parent.iterdir()] == [registered.name]
    assert ground.home / ground.shards(disturbed)[0].checkpoint == registered
    # And once there is room the training goes on from there and ends as if nothing had been
    ballast.unlink()
    check_end(ground, disturbed, trained_encoder)
    assert worker.drain() == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.fault(14)
@pytest.mark.usual
@pytest.mark.never(
    postgresql="its disk is the server's own affair; without room for its log it stops, as in fault 10"
)
def test_a_disk_without_room_for_a_checkpoint_or_the_word_of_it_holds_a_training_up_until_there_is_some(
    small_disk: Path, ground: Ground, trained_encoder: TrainedEncoder
) -> None:
    disturbed, worker = trained_past_a_checkpoint(ground, trained_encoder)
    ballast = fill(small_disk)
    worker.wake_runner()
    wait_until(lambda: worker.said("The database is away"), 240, saying="the database to refuse a write")
    ballast.unlink()
    check_end(ground, disturbed, trained_encoder)
    assert worker.drain() == 0


def trained_past_a_checkpoint(ground: Ground, encoder: TrainedEncoder) -> tuple[int, WorkerHandle]:
    """A training that stands still beyond its first checkpoint."""
    disturbed = ground.train(encoder_spec(encoder.backbone))
    freezing = ground.at(CrashPoint.TRAINING_STEP, nth=SECOND_EPOCH, signal="STOP")
    worker = ground.start_worker(**freezing, **PATIENT)
    ground.wait_until_reached(timeout=240)
    wait_until(lambda: ground.shards(disturbed)[0].checkpoint, 30, saying="a checkpoint to be registered")
    return disturbed, worker


def check_end(ground: Ground, disturbed: int, encoder: TrainedEncoder) -> None:
    """The training failed for the disk alone, and made the undisturbed one's bundle to the last bit."""
    assert ground.wait_for_end(disturbed, timeout=240) == ["succeeded"]
    query = sa.select(attempt.c.outcome, attempt.c.failure).where(attempt.c.job_id == disturbed)
    *before, last = ground.all(query.order_by(attempt.c.id))
    assert {tuple(one) for one in before} == {(AttemptOutcome.FAILED, FailureClass.DISK_FULL)}
    assert last.outcome == AttemptOutcome.COMMITTED
    assert bundle_digest(ground, disturbed) == encoder.digest
    check_invariants(ground, disturbed)
    wait_until(lambda: not list((ground.home / "checkpoints").glob("job-*")), 30)
