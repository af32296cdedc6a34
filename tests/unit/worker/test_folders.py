"""One attempt's folders are made and removed while the next attempt of the same shard does the same."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from postq.jobs.leases import Lease
from postq.settings import Settings
from postq.worker.folders import Folders


@pytest.fixture
def folders(settings: Settings) -> Folders:
    return Folders(settings.home, tag="0ddba11a")


def test_an_ended_attempt_leaves_nothing_behind(folders: Folders, lease: Lease) -> None:
    folders.prepare(lease)
    (folders.output(lease) / "scores.arrow").write_bytes(b"scores")
    folders.drop_output(lease)
    assert list((folders.home / "attempts").iterdir()) == []
    assert list((folders.home / "checkpoints").iterdir()) == []


def test_clearing_up_spares_the_next_attempt_that_began_the_moment_the_folder_was_seen_empty(
    folders: Folders, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an attempt that was given back, and another that begins right before their folder is removed
    following = folders.output(replace(lease, token=lease.token + 1))
    folders.prepare(lease)
    began = []

    def after_the_other_began(remove: Callable[..., None]) -> Callable[..., None]:
        def removing(folder: Path, **options: Any) -> None:
            if folder == following.parent and not began:
                following.mkdir()
                began.append(following)
            remove(folder, **options)

        return removing

    monkeypatch.setattr(shutil, "rmtree", after_the_other_began(shutil.rmtree))
    monkeypatch.setattr(os, "rmdir", after_the_other_began(os.rmdir))
    # When the first clears up
    folders.drop_output(lease)
    # Then the other's folder is still there
    assert began
    assert following.is_dir()


def test_an_attempt_begins_although_the_one_before_removes_what_it_finds_empty(
    folders: Folders, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    makes, shard = os.mkdir, folders.output(lease).parent
    removed = []

    def mkdir(folder: Any, *options: Any) -> None:
        makes(folder, *options)
        if folder == shard and not removed:
            removed.append(folder)
            shard.rmdir()

    monkeypatch.setattr(os, "mkdir", mkdir)
    folders.prepare(lease)
    assert removed
    assert folders.output(lease).is_dir()


def test_an_attempt_finds_nothing_of_another_job_that_had_its_numbers(folders: Folders, lease: Lease) -> None:
    """As when a database was restored that numbers its jobs anew."""
    for folder in (folders.output(lease), folders.checkpoints(lease)):
        (folder / "checkpoint-000009").mkdir(parents=True)
    folders.prepare(lease)
    assert [*folders.output(lease).iterdir(), *folders.checkpoints(lease).iterdir()] == []
