"""Forgetting jobs that ended long ago: their rows at once, their predictions in batches, their files last."""

import shutil
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.contracts.specs import JobKind
from postq.database_tag import tagged
from postq.errors import Conflict, NotFound
from postq.jobs.states import JOB_TERMINAL
from postq.models.job import JobState
from postq.models.tables import (
    attempt,
    event,
    fire,
    job,
    prediction,
    prediction_label,
    quarantine,
    schedule,
    shard,
)
from postq.registry.references import job_of_reference, resolve_bundle

BATCH_ROWS = 20_000
"""Rows of predictions deleted in one transaction: a second's work, so that nobody waits long for the lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OldJob:
    """A job that ended before the asked time, and why it is kept, if it is."""

    job_id: int
    kind: JobKind
    name: str
    finished_at: datetime
    predictions: int
    kept: str = ""
    """Empty when nothing stands on the job any more."""


def old_jobs(
    session: Session, *, before: datetime, kinds: Collection[JobKind] = tuple(JobKind)
) -> list[OldJob]:
    """Jobs of these kinds that ended before `before`, oldest first, each with the reason that keeps it.

    Kept are the newest job of all (a SQLite file of before numbers were given once would give its number away
    again, and with it predictions that are not swept yet), jobs that one still here waits
    for or waited for, trainings that a schedule or a waiting job calls its bundle by (`job:N`), and
    classifications whose predictions a schedule builds on: without them its next fire would score those
    documents again.
    """
    query = (
        sa.select(job)
        .where(job.c.state.in_(JOB_TERMINAL), job.c.finished_at < before, job.c.kind.in_(kinds))
        .order_by(job.c.id)
    )
    found = session.execute(query).all()
    newest = session.scalar(sa.select(sa.func.max(job.c.id)))
    scheduled = _scheduled_bundles(session)
    current = _fingerprints_of(session, scheduled)
    named = {job_of_reference(text) for text in (*scheduled, *_awaited_bundles(session))}
    reasons = {row.id: _own_reason(row, newest=newest, current=current, named=named) for row in found}
    for job_id in _needed_by_others(session, reasons):
        reasons[job_id] = reasons[job_id] or "a job that stays came after it"
    return [
        OldJob(
            job_id=row.id,
            kind=row.kind,
            name=row.name,
            finished_at=row.finished_at,
            predictions=row.documents_predicted,
            kept=reasons[row.id],
        )
        for row in found
    ]


def forget_job(session: Session, job_id: int) -> tuple[int, ...]:
    """Delete the job and its history; returns its shards. What it predicted is left to `sweep_predictions`.

    Nothing can find those rows by then but a `--only-new` plan, which would take them for what they are:
    documents that were scored. Raises NotFound, or Conflict when the job has not ended or others name it.
    """
    state = session.scalar(sa.select(job.c.state).where(job.c.id == job_id).with_for_update())
    if state is None:
        raise NotFound(f"There is no job {job_id}.", hint="See all jobs with: postq status.")
    if state not in JOB_TERMINAL:
        raise Conflict(f"Job {job_id} is {state}.", hint=f"First: postq cancel {job_id}.")
    if session.scalar(sa.select(job.c.id).where(job.c.after_job_id == job_id).limit(1)) is not None:
        raise Conflict(f"Another job came after job {job_id}.", hint="Prune that one first.")
    shards = tuple(session.scalars(sa.select(shard.c.id).where(shard.c.job_id == job_id)))
    session.execute(sa.update(fire).where(fire.c.job_id == job_id).values(job_id=None))
    for table in (quarantine, event, attempt, shard):
        session.execute(sa.delete(table).where(table.c.job_id == job_id))
    session.execute(sa.delete(job).where(job.c.id == job_id))
    return shards


def sweep_predictions(session: Session, *, limit: int = BATCH_ROWS) -> int:
    """Delete up to `limit` predictions of jobs that are gone, with their labels; returns how many."""
    job_id = _first_orphan(session)
    if job_id is None:
        return 0
    rows = (
        sa.select(prediction.c.row)
        .where(prediction.c.job_id == job_id)
        .order_by(prediction.c.row)
        .limit(limit)
    )
    last = session.scalar(sa.select(sa.func.max(rows.subquery().c.row)))
    for table in (prediction_label, prediction):
        done = session.execute(sa.delete(table).where(table.c.job_id == job_id, table.c.row <= last))
    return int(done.rowcount)  # type: ignore[attr-defined]


def clear_files(home: Path, *, tag: str, job_id: int, shards: Iterable[int]) -> None:
    """Remove checkpoints and attempts of a job that was forgotten by the database with this tag."""
    shutil.rmtree(home / "checkpoints" / tagged(f"job-{job_id}", tag), ignore_errors=True)
    for shard_id in shards:
        shutil.rmtree(home / "attempts" / tagged(f"shard-{shard_id}", tag), ignore_errors=True)


def _own_reason(
    row: sa.Row[tuple[object, ...]],
    *,
    newest: int | None,
    current: Collection[bytes],
    named: Collection[int | None],
) -> str:
    if row.id == newest:
        return "it is the newest job"
    if row.id in named:
        return "a schedule or a waiting job calls its bundle by it"
    if row.kind is JobKind.CLASSIFY and row.fingerprint in current:
        return "a schedule builds on its predictions"
    return ""


def _needed_by_others(session: Session, reasons: dict[int, str]) -> set[int]:
    """Jobs of `reasons` that one which stays came after, directly or through others."""
    followed = sa.select(job.c.id, job.c.after_job_id).where(job.c.after_job_id.is_not(None))
    before_of = {row.id: row.after_job_id for row in session.execute(followed)}
    needed: set[int] = set()
    staying = [job_id for job_id in before_of if reasons.get(job_id, "not old") != ""]
    while staying:
        earlier = before_of.get(staying.pop())
        if earlier in reasons and earlier not in needed:
            needed.add(earlier)
            staying.append(earlier)
    return needed


def _scheduled_bundles(session: Session) -> Sequence[str]:
    """What schedules call the bundles they classify with."""
    query = sa.select(schedule.c.bundle).where(schedule.c.removed_at.is_(None)).distinct()
    return session.scalars(query).all()


def _awaited_bundles(session: Session) -> list[str]:
    """What blocked jobs call their bundles, which are resolved only when they become ready."""
    specs = session.scalars(sa.select(job.c.spec).where(job.c.state == JobState.BLOCKED))
    return [spec["bundle"] for spec in specs if "bundle" in spec]


def _fingerprints_of(session: Session, references: Sequence[str]) -> set[bytes]:
    """Fingerprints of the bundles meant."""
    found = set()
    for reference in references:
        try:
            found.add(resolve_bundle(session, reference).fingerprint)
        except (NotFound, Conflict):
            continue  # such a schedule fires nothing either
    return found


def _first_orphan(session: Session) -> int | None:
    """The lowest job number that has predictions and no row; jumps from job to job along the index."""
    after = 0
    while True:
        job_id = session.scalar(
            sa.select(sa.func.min(prediction.c.job_id)).where(prediction.c.job_id > after)
        )
        if job_id is None:
            return None
        if session.scalar(sa.select(job.c.id).where(job.c.id == job_id)) is None:
            return int(job_id)
        after = job_id
