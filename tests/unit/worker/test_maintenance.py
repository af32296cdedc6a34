"""Maintenance runs every act, whatever fails, and removes only files that nobody will ask for again."""

import os
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from postq.database_tag import database_tag
from postq.db import Database
from postq.jobs.leases import Lease
from postq.jobs.maintenance import Counts
from postq.models.attempt import AttemptOutcome
from postq.models.tables import attempt, job
from postq.settings import Settings
from postq.worker import maintenance as maintenance_module
from postq.worker.folders import Folders
from postq.worker.maintenance import Maintenance


@pytest.fixture
def maintain(stocked: Database, settings: Settings) -> Callable[[], None]:
    return Maintenance(database=stocked, settings=settings, on_change=lambda: None).run_once


@pytest.fixture
def folders(stocked: Database, settings: Settings) -> Folders:
    with stocked.reading() as session:
        return Folders(settings.home, tag=database_tag(session, home=settings.home))


def test_files_of_an_attempt_at_work_are_left_alone_and_removed_once_it_ended(
    maintain: Callable[[], None], stocked: Database, folders: Folders, lease: Lease
) -> None:
    folders.prepare(lease)
    maintain()
    assert folders.output(lease).is_dir()
    with stocked.transaction() as session:
        session.execute(sa.update(attempt).values(outcome=AttemptOutcome.LOST))
    maintain()
    assert not folders.output(lease).exists()


@pytest.mark.parametrize(("state", "kept"), [("running", True), ("failed", True), ("succeeded", False)])
def test_checkpoints_are_kept_while_a_training_could_still_be_resumed(
    *,
    state: str,
    kept: bool,
    maintain: Callable[[], None],
    stocked: Database,
    folders: Folders,
    lease: Lease,
) -> None:
    checkpoint = folders.checkpoints(lease) / "checkpoint-1"
    checkpoint.mkdir(parents=True)
    with stocked.transaction() as session:
        session.execute(sa.update(job).values(state=state))
    maintain()
    assert checkpoint.exists() is kept


def test_foreign_files_are_not_touched(
    maintain: Callable[[], None], settings: Settings, folders: Folders, lease: Lease
) -> None:
    attempts, checkpoints = settings.home / "attempts", settings.home / "checkpoints"
    own = folders.checkpoints(lease).parent.name.removeprefix(f"job-{lease.job_id}")
    strange = [
        *(attempts / name / "token-1" for name in ("shard-7", "shard-7-0ddba11a", f"shard-x{own}")),
        *(checkpoints / name / "token-1" for name in ("job-7", "job-7-0ddba11a", f"job-mine{own}")),
    ]
    for folder in strange:
        folder.mkdir(parents=True)
    maintain()
    assert all(folder.is_dir() for folder in strange)


def test_an_act_that_fails_does_not_keep_the_others_from_their_turn(
    maintain: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def failing(session: Session, *, now: datetime, settings: Settings) -> Counts:
        raise RuntimeError("a bug")

    def working(session: Session, *, now: datetime, settings: Settings) -> Counts:
        done.append("worked")
        return Counts()

    monkeypatch.setattr(maintenance_module, "ACTS", {"one": failing, "two": working})
    with pytest.raises(RuntimeError, match="a bug"):
        maintain()
    assert done == ["worked"]


@pytest.mark.parametrize("changed", [2, 0])
def test_a_change_or_work_that_waits_wakes_the_dispatcher_and_only_a_change_is_logged(
    changed: int, stocked: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def changing(session: Session, *, now: datetime, settings: Settings) -> Counts:
        return Counts(changed=changed, device_kinds=("any", "cuda"))

    nudged: list[str] = []
    woken: list[bool] = []

    def remember(settings: Settings, *, device_kind: str, **more: Any) -> bool:
        nudged.append(device_kind)
        return True

    monkeypatch.setattr(maintenance_module, "ACTS", {"one": changing})
    monkeypatch.setattr(maintenance_module, "nudge", remember)
    with capture_logs() as told:
        Maintenance(database=stocked, settings=settings, on_change=lambda: woken.append(True)).run_once()
    assert nudged == ["any", "cuda"]
    assert woken == [True]
    assert [line["changed"] for line in told] == [changed] * bool(changed)


def test_drafts_of_bundles_go_once_nobody_has_written_to_them_for_a_day(
    maintain: Callable[[], None], settings: Settings
) -> None:
    bundles = settings.home / "bundles"
    names = (".draft-one", "..draft-one.beside.tmp", ".draft-two", "a" * 64)
    abandoned, begun, fresh, kept = folders = [bundles / name for name in names]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "labels.json").write_text("[]")
    for folder in (abandoned, begun, kept):
        os.utime(folder / "labels.json", (0, 0))
        os.utime(folder, (0, 0))
    maintain()
    assert [folder for folder in folders if folder.exists()] == [fresh, kept]


def test_old_logs_go_and_new_ones_stay(maintain: Callable[[], None], settings: Settings) -> None:
    logs = settings.home / "logs"
    logs.mkdir(parents=True)
    old, new, other = (logs / name for name in ("runner-cpu-1.log", "runner-cpu-2.log", "worker-1.log"))
    for log in (old, new, other):
        log.write_text("said")
    for log in (old, other):
        os.utime(log, (0, 0))
    maintain()
    assert [log.exists() for log in (old, new, other)] == [False, True, True]
