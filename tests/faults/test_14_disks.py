"""Fault 14: the disk is full while results and the database are written; all goes on once there is room."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from postq.crash_points import CrashPoint
from postq.db import Database
from tests import databases
from tests.faults.accounting import check_invariants
from tests.faults.conftest import MakeGround
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


def test_a_full_disk_costs_time_and_nothing_else(
    small_disk: Path, migrated_sqlite: Path, stocked: MakeGround, stock: Stock
) -> None:
    # Given database and results on a small disk, and a runner in the middle of its work
    ground = ground_on(small_disk, migrated_sqlite, stocked)
    worker = ground.start_worker(**ground.at(CrashPoint.RUNNER_MIDWAY, nth=2, signal="STOP"))
    job_id = ground.classify()
    ground.wait_until_reached()
    # When the disk is full to the last byte
    ballast = fill(small_disk)
    worker.runner().resume()
    wait_until(lambda: worker.said("The database is away"), 60, saying="the database to refuse a write")
    # Then the worker waits, and all is done once there is room
    assert worker.alive()
    ballast.unlink()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)
    assert worker.drain() == 0


@pytest.mark.postgres
def test_a_disk_full_for_results_only_is_told_and_tried_again(
    small_disk: Path, postgres_database: Database, stocked: MakeGround, stock: Stock
) -> None:
    ground = stocked(postgres_database)
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


def ground_on(disk: Path, migrated: Path, stocked: MakeGround) -> Ground:
    file = disk / "postq.db"
    shutil.copyfile(migrated, file)
    return stocked(databases.opened(f"sqlite:///{file}", home=disk))
