"""What every worker does for all: the engine's maintenance acts, and clearing out files of ended attempts."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy as sa
import structlog

from postq.database_tag import database_tag, tagged
from postq.db import Database, database_now
from postq.jobs.reconcile import ACTS, Act, ended_attempts
from postq.jobs.states import JOB_SUCCEEDED
from postq.models.tables import job
from postq.nudges import nudge
from postq.registry.bundle_place import prune_aside
from postq.registry.corpora import prune_snapshots
from postq.settings import Settings

KEEP_LOGS_SECONDS = 14 * 24 * 3600.0

_log = structlog.get_logger()


class Maintenance:
    """One pass of maintenance. Any number of workers may run it at any time: each act is conditional."""

    def __init__(self, *, database: Database, settings: Settings, on_change: Callable[[], None]) -> None:
        self._database = database
        self._settings = settings
        self._on_change = on_change

    def run_once(self) -> None:
        """Every act in a transaction of its own, so that a failing one does not undo the others.

        An act that fails is raised again once the others had their turn.
        """
        failure: Exception | None = None
        for name, act in ACTS.items():
            try:
                self._run_act(name, act)
            except Exception as exc:  # the next acts are independent of this one
                failure = exc
        if failure is not None:
            raise failure
        self._clear_out()

    def _run_act(self, name: str, act: Act) -> None:
        with self._database.transaction() as session:
            counts = act(session, now=database_now(session), settings=self._settings)
        if counts.changed:
            _log.info("Maintenance changed something.", act=name, changed=counts.changed)
        if counts.changed or counts.device_kinds:
            self._on_change()
        for kind in counts.device_kinds:
            nudge(self._settings, device_kind=kind)

    def _clear_out(self) -> None:
        """Remove what processes left behind that died before they could."""
        home = self._settings.home
        with self._database.reading() as session:
            now, tag = database_now(session), database_tag(session, home=home)
            prune_snapshots(session, home=home, now=now)
        self._clear_attempts(tag)
        self._clear_checkpoints(tag)
        prune_aside(home=home, now=now)
        for log in (home / "logs").glob("runner-*.log"):
            if time.time() - log.stat().st_mtime > KEEP_LOGS_SECONDS:
                log.unlink(missing_ok=True)

    def _clear_attempts(self, tag: str) -> None:
        folders = dict(_attempt_folders(self._settings.home, tag))
        if folders:
            with self._database.reading() as session:
                ended = ended_attempts(session, folders)
            for pair in ended:
                shutil.rmtree(folders[pair], ignore_errors=True)

    def _clear_checkpoints(self, tag: str) -> None:
        """Those of trainings that succeeded; a failed or cancelled one may be retried and resume."""
        folders = dict(_checkpoint_folders(self._settings.home, tag))
        if not folders:
            return
        done = sa.select(job.c.id).where(job.c.id.in_(folders), job.c.state.in_(JOB_SUCCEEDED))
        with self._database.reading() as session:
            succeeded = session.scalars(done).all()
        for job_id in succeeded:
            shutil.rmtree(folders[job_id], ignore_errors=True)


def _attempt_folders(home: Path, tag: str) -> Iterator[tuple[tuple[int, int], Path]]:
    """((shard, token), folder) of every attempt that has files of the database with this tag."""
    for folder in (home / "attempts").glob(f"{tagged('shard-*', tag)}/token-*"):
        shard, token = _number(folder.parent.name, "shard-", tag), folder.name.removeprefix("token-")
        if shard.isdigit() and token.isdigit():
            yield (int(shard), int(token)), folder


def _checkpoint_folders(home: Path, tag: str) -> Iterator[tuple[int, Path]]:
    """(job, folder) of every training that has checkpoints of the database with this tag."""
    for folder in (home / "checkpoints").glob(tagged("job-*", tag)):
        number = _number(folder.name, "job-", tag)
        if number.isdigit():
            yield int(number), folder


def _number(name: str, noun: str, tag: str) -> str:
    return name.removeprefix(noun).removesuffix(tagged("", tag))
