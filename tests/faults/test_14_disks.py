"""Fault 14: the disk is full while results and the database are written; all goes on once there is room."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from postq.crash_points import CrashPoint
from tests.faults.accounting import check_invariants
from tests.faults.ground import Ground
from tests.faults.stock import Stock
from tests.waiting import wait_until


@pytest.fixture
def small_disk(isolated_settings: Path) -> Iterator[Path]:
    """A file system of eight megabytes at the place of home."""
    isolated_settings.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=750", "postq-test", str(isolated_settings)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not mount a small file system to fill up")
    try:
        yield isolated_settings
    finally:
        subprocess.run(["umount", "--lazy", str(isolated_settings)], check=True)


def fill(disk: Path) -> Path:
    """Write until nothing more fits; the file that holds the room."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
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
