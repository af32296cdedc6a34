"""Cancelling: what waits is stopped at once, what runs is told at its next renewal."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.errors import Conflict, NotFound
from postq.jobs.events import EventLine, write_event
from postq.jobs.finish import follow, settle
from postq.jobs.lapsed import take_back_lapsed
from postq.jobs.states import JOB_TERMINAL, move_jobs, move_shards
from postq.models.job import JobState
from postq.models.shard import ShardState
from postq.models.tables import job, shard
from postq.settings import Settings

AT_ONCE = 1_000
"""Most shards without a worker that one call takes back; the next call goes on, or a worker."""


def cancel(
    session: Session, job_id: int, *, now: datetime, settings: Settings, reason: str = "cancelled by a person"
) -> JobState:
    """Ask the job to end; returns the state it is in now: cancelled, or running until its workers stop.

    Ready shards are cancelled at once, and so are those whose worker is gone. A leased one ends when its
    worker renews, or commits if it is done first: if no shard is left out in the end, the job has succeeded.
    Asking twice is harmless.
    Raises NotFound, or Conflict when the job has ended otherwise.
    """
    state = _state(session, job_id)
    if state is JobState.CANCELLED:
        return state
    if state in JOB_TERMINAL:
        raise Conflict(f"Job {job_id} has already ended: {state}.", hint="There is nothing left to cancel.")
    asked = session.execute(
        sa.update(job)
        .where(job.c.id == job_id, job.c.cancel_requested_at.is_(None), job.c.state.not_in(JOB_TERMINAL))
        .values(cancel_requested_at=now)
        .returning(job.c.id)
    )
    if asked.first() is not None:
        write_event(session, EventLine(job_id=job_id, type="job.cancel", message=reason), now=now)
    blocked = move_jobs(
        session,
        job.c.id == job_id,
        source=JobState.BLOCKED,
        target=JobState.CANCELLED,
        now=now,
        reason=reason,
    )
    if blocked:
        follow(session, job_id, now=now, settings=settings)
    else:
        cancel_ready_shards(session, job_id, now=now)
        take_back_lapsed(session, now=now, settings=settings, at_most=AT_ONCE, job_id=job_id)
        settle(session, job_id, now=now, settings=settings)
    return _state(session, job_id)


def cancel_ready_shards(session: Session, job_id: int, *, now: datetime) -> int:
    """Cancel the shards nobody has claimed; returns how many.

    A shard being claimed at this moment is left to its worker, which is told when it renews.
    """
    waiting = (
        sa.select(shard.c.id)
        .where(shard.c.job_id == job_id, shard.c.state == ShardState.READY)
        .with_for_update(skip_locked=True)
    )
    moved = move_shards(
        session,
        shard.c.id.in_(waiting.scalar_subquery()),
        source=ShardState.READY,
        target=ShardState.CANCELLED,
        now=now,
        message="cancelled",
    )
    return len(moved)


def _state(session: Session, job_id: int) -> JobState:
    """Of a job that nobody can prune before the caller's transaction ends. Raises NotFound."""
    kept = sa.select(job.c.state).where(job.c.id == job_id).with_for_update(read=True, key_share=True)
    state = session.scalar(kept)
    if state is None:
        raise NotFound(f"There is no job {job_id}.", hint="See all jobs with: postq status.")
    return JobState(state)
