"""Ending jobs: the last shard moves its job, and the job's end decides about those that wait for it."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.contracts.specs import job_spec
from postq.counted import counted
from postq.errors import PostqError
from postq.jobs.planning import plan_job
from postq.jobs.starting import start_plan
from postq.jobs.states import JOB_SUCCEEDED, JOB_TERMINAL, SHARD_OPEN, move_jobs
from postq.models.job import JobState
from postq.models.shard import ShardState
from postq.models.tables import job, shard
from postq.settings import Settings


def settle(session: Session, job_id: int, *, now: datetime, settings: Settings) -> JobState | None:
    """End the job if none of its shards is open, and unblock its dependents; None when it goes on.

    Locks the job's row before counting: of two workers that end the last two shards at once, the second
    sees the first one's, so that one of them ends the job.
    """
    facts = session.execute(
        sa.select(job.c.state, job.c.documents_quarantined)
        .where(job.c.id == job_id)
        .with_for_update(key_share=True)
    ).one()
    if facts.state not in (JobState.READY, JobState.RUNNING):
        return None
    if _any_open(session, job_id):
        return None
    counts = _shard_counts(session, job_id)
    target, reason = _ending(counts, quarantined=facts.documents_quarantined)
    values = _why_failed(session, job_id) if target is JobState.FAILED else {}
    moved = move_jobs(
        session,
        job.c.id == job_id,
        source=facts.state,
        target=target,
        now=now,
        reason=values.get("error", reason),
        **values,
    )
    if not moved:
        return None
    follow(session, job_id, now=now, settings=settings)
    return target


def follow(session: Session, job_id: int, *, now: datetime, settings: Settings) -> list[int]:
    """Start, fail or cancel the jobs that waited for this one, now that it has ended; returns them."""
    state = session.execute(sa.select(job.c.state).where(job.c.id == job_id)).scalar_one()
    if state not in JOB_TERMINAL:
        return []
    waiting = (
        sa.select(job.c.id, job.c.after_any)
        .where(job.c.after_job_id == job_id, job.c.state == JobState.BLOCKED)
        .order_by(job.c.id)
        .with_for_update(key_share=True, skip_locked=True)
    )
    followed = []
    for dependent in session.execute(waiting).all():
        followed.append(dependent.id)
        if state in JOB_SUCCEEDED or dependent.after_any:
            unblock(session, dependent.id, now=now, settings=settings)
        else:
            _fall_with(session, dependent.id, job_id, state, now=now, settings=settings)
    return followed


def unblock(session: Session, job_id: int, *, now: datetime, settings: Settings) -> None:
    """Plan a job whose wait is over and make it ready; it fails, with the reason, when that cannot be."""
    stored = session.execute(sa.select(job.c.spec).where(job.c.id == job_id)).scalar_one()
    try:
        plan = plan_job(session, job_spec.validate_python(stored), settings=settings)
    except PostqError as exc:
        _end_blocked(session, job_id, JobState.FAILED, exc.message, now=now, error=exc.message, hint=exc.hint)
        follow(session, job_id, now=now, settings=settings)
        return
    moved = move_jobs(
        session,
        job.c.id == job_id,
        source=JobState.BLOCKED,
        target=JobState.READY,
        now=now,
        reason=plan.reason,
        **plan.pinned,
    )
    if moved:
        start_plan(session, job_id, plan, now=now)
        follow(session, job_id, now=now, settings=settings)


def _fall_with(
    session: Session, job_id: int, before_id: int, state: JobState, *, now: datetime, settings: Settings
) -> None:
    reason = (
        f"job {before_id}, which it waited for, {'failed' if state is JobState.FAILED else 'was cancelled'}"
    )
    if state is JobState.FAILED:
        hint = f"Mend and retry job {before_id} first, then: postq retry {job_id}."
        _end_blocked(session, job_id, JobState.FAILED, reason, now=now, error=reason, hint=hint)
    else:
        _end_blocked(session, job_id, JobState.CANCELLED, reason, now=now)
    follow(session, job_id, now=now, settings=settings)


def _end_blocked(
    session: Session, job_id: int, target: JobState, reason: str, *, now: datetime, **values: Any
) -> None:
    move_jobs(
        session,
        job.c.id == job_id,
        source=JobState.BLOCKED,
        target=target,
        now=now,
        reason=reason,
        **values,
    )


def _any_open(session: Session, job_id: int) -> bool:
    query = sa.select(shard.c.id).where(shard.c.job_id == job_id, shard.c.state.in_(SHARD_OPEN)).limit(1)
    return session.scalar(query) is not None


def _shard_counts(session: Session, job_id: int) -> dict[ShardState, int]:
    query = sa.select(shard.c.state, sa.func.count()).where(shard.c.job_id == job_id).group_by(shard.c.state)
    return dict(session.execute(query).all())


def _ending(counts: dict[ShardState, int], *, quarantined: int) -> tuple[JobState, str]:
    if counts.get(ShardState.CANCELLED):
        return JobState.CANCELLED, "cancelled before its work was complete"
    if counts.get(ShardState.DEAD):
        return JobState.FAILED, "a shard is dead"
    if quarantined:
        return (
            JobState.SUCCEEDED_WITH_QUARANTINE,
            f"all work done; {counted(quarantined, 'document')} quarantined",
        )
    return JobState.SUCCEEDED, "all work done"


def _why_failed(session: Session, job_id: int) -> dict[str, Any]:
    dead = (
        sa.select(shard.c.error, shard.c.hint, shard.c.failure)
        .where(shard.c.job_id == job_id, shard.c.state == ShardState.DEAD)
        .order_by(shard.c.finished_at, shard.c.id)
        .limit(1)
    )
    row = session.execute(dead).one()
    return {"error": row.error or f"an attempt ended with {row.failure}", "hint": row.hint}
