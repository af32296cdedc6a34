"""Retrying a job that failed or was cancelled: what is done stays done, the rest starts afresh."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.contracts.specs import job_spec
from postq.errors import Conflict, NotFound
from postq.jobs.planning import plan_job
from postq.jobs.starting import start_plan
from postq.jobs.states import JOB_SUCCEEDED, JOB_TERMINAL, move_jobs, move_shards
from postq.models.job import Job, JobState
from postq.models.shard import ShardState
from postq.models.tables import job, shard
from postq.settings import Settings

_FRESH: dict[str, Any] = {"cancel_requested_at": None, "error": None, "hint": None}
_FRESH_SHARD: dict[str, Any] = {
    "attempts": 0,
    "crashes": 0,
    "batch_divisor": 1,
    "not_before": None,
    "failure": None,
    "error": None,
    "hint": None,
}


def retry_job(session: Session, job_id: int, *, now: datetime, settings: Settings) -> JobState:
    """Make the job ready again, or blocked when what it waits for has not ended; returns which.

    Dead and cancelled shards come back with fresh budgets and keep their checkpoint; done ones stay done,
    under the bundle pinned before. Of two retries at once the second finds the job as the first left it.
    Raises NotFound, or Conflict when the job has not failed or been cancelled, or when the job it waited for
    must be retried first.
    """
    found = session.get(Job, job_id, populate_existing=True, with_for_update={"key_share": True})
    if found is None:
        raise NotFound(f"There is no job {job_id}.", hint="See all jobs with: postq status.")
    if found.state not in (JobState.FAILED, JobState.CANCELLED):
        raise Conflict(
            f"Job {job_id} is {found.state}; only a failed or cancelled job can be retried.",
            hint=f"Look at it with: postq status {job_id}.",
        )
    if _has_shards(session, job_id):
        return _revive(session, found, now=now)
    return _begin_again(session, found, now=now, settings=settings)


def _revive(session: Session, found: Job, *, now: datetime) -> JobState:
    _move(session, found, JobState.READY, "retried; waits for a worker", now=now)
    for source in (ShardState.DEAD, ShardState.CANCELLED):
        move_shards(
            session,
            shard.c.job_id == found.id,
            source=source,
            target=ShardState.READY,
            now=now,
            message="retried by a person",
            **_FRESH_SHARD,
        )
    return JobState.READY


def _begin_again(session: Session, found: Job, *, now: datetime, settings: Settings) -> JobState:
    before = session.get(Job, found.after_job_id) if found.after_job_id is not None else None
    if before is not None and before.state not in JOB_TERMINAL:
        _move(session, found, JobState.BLOCKED, f"waits for job {before.id}", now=now)
        return JobState.BLOCKED
    if before is not None and before.state not in JOB_SUCCEEDED and not found.after_any:
        raise Conflict(
            f"Job {found.id} waits for job {before.id}, which has {before.state}.",
            hint=f"First: postq retry {before.id}.",
        )
    plan = plan_job(session, job_spec.validate_python(found.spec), settings=settings)
    _move(session, found, JobState.READY, plan.reason, now=now, **plan.pinned)
    assert found.id is not None
    start_plan(session, found.id, plan, now=now)
    return JobState.READY if plan.ranges else JobState.SUCCEEDED


def _move(
    session: Session, found: Job, target: JobState, reason: str, *, now: datetime, **values: Any
) -> None:
    move_jobs(  # it does move: the row was locked when its state was read
        session,
        job.c.id == found.id,
        source=found.state,
        target=target,
        now=now,
        reason=reason,
        **_FRESH,
        **values,
    )


def _has_shards(session: Session, job_id: int) -> bool:
    return session.scalar(sa.select(shard.c.id).where(shard.c.job_id == job_id).limit(1)) is not None
