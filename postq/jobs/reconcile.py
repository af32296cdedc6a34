"""Maintenance without a leader: conditional acts that any number of supervisors may repeat at any time."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.jobs.cancel import cancel_ready_shards
from postq.jobs.finish import follow, settle
from postq.jobs.firing import fire_due_schedules
from postq.jobs.lapsed import take_back_lapsed
from postq.jobs.maintenance import Counts
from postq.jobs.retries import Action
from postq.jobs.states import JOB_TERMINAL, SHARD_OPEN
from postq.jobs.workers import STOPPED, silence
from postq.models.attempt import AttemptOutcome
from postq.models.job import JobState
from postq.models.shard import ShardState
from postq.models.tables import attempt, job, shard, worker
from postq.settings import Settings

AT_ONCE = 100
"""Most rows one act takes in one transaction, to keep it short; the next pass goes on."""
NUDGE_AGAIN_AFTER = timedelta(seconds=30)
KEEP_WORKERS = timedelta(days=7)

Act = Callable[..., Counts]
"""`verb(session, *, now, settings) -> Counts`."""


def expire_leases(session: Session, *, now: datetime, settings: Settings) -> Counts:
    """Take back every shard whose lease ran out."""
    actions = take_back_lapsed(session, now=now, settings=settings, at_most=AT_ONCE)
    kinds = ("any", "cpu", "cuda", "mps") if Action.RETRY in actions or Action.SPLIT in actions else ()
    return Counts(changed=len(actions), device_kinds=kinds)


def unblock_dependents(session: Session, *, now: datetime, settings: Settings) -> Counts:
    """Start, fail or cancel jobs that wait for a job that has ended."""
    before = job.alias()
    ended = (
        sa.select(job.c.after_job_id)
        .join(before, job.c.after_job_id == before.c.id)
        .where(job.c.state == JobState.BLOCKED, before.c.state.in_(JOB_TERMINAL))
        .distinct()
        .order_by(job.c.after_job_id)
        .limit(AT_ONCE)
    )
    moved = [
        job_id
        for ended_id in session.scalars(ended).all()
        for job_id in follow(session, ended_id, now=now, settings=settings)
    ]
    return Counts(changed=len(moved))


def finish_jobs(session: Session, *, now: datetime, settings: Settings) -> Counts:
    """End jobs that have no open shard left, and stop what a cancel could not reach when it was asked."""
    stopping = sa.select(job.c.id).where(
        job.c.cancel_requested_at.is_not(None), job.c.state.in_((JobState.READY, JobState.RUNNING))
    )
    for job_id in session.scalars(stopping.order_by(job.c.id).limit(AT_ONCE)).all():
        cancel_ready_shards(session, job_id, now=now)
    open_shard = sa.select(sa.literal(1)).where(shard.c.job_id == job.c.id, shard.c.state.in_(SHARD_OPEN))
    over = sa.select(job.c.id).where(
        job.c.state.in_((JobState.READY, JobState.RUNNING)), ~open_shard.correlate(job).exists()
    )
    ended = [
        settle(session, job_id, now=now, settings=settings)
        for job_id in session.scalars(over.order_by(job.c.id).limit(AT_ONCE)).all()
    ]
    return Counts(changed=sum(state is not None for state in ended))


def find_unnudged(session: Session, *, now: datetime, settings: Settings) -> Counts:
    """Device kinds with a shard that has been ready for half a minute: a nudge may have been lost.

    No row changes, and so nothing is logged: work that waits for a busy worker is no news every ten seconds.
    """
    del settings
    waiting = (
        sa.select(shard.c.device_kind)
        .where(
            shard.c.state == ShardState.READY,
            shard.c.ready_at < now - NUDGE_AGAIN_AFTER,
            sa.or_(shard.c.not_before.is_(None), shard.c.not_before <= now),
        )
        .distinct()
        .order_by(shard.c.device_kind)
    )
    return Counts(device_kinds=tuple(session.scalars(waiting)))


def forget_stale_workers(session: Session, *, now: datetime, settings: Settings) -> Counts:
    """Mark workers as stopped that were not heard of for long, and delete rows of those long stopped."""
    silent = session.execute(
        sa.update(worker)
        .where(worker.c.state != STOPPED, worker.c.seen_at < now - silence(settings))
        .values(state=STOPPED, shard_id=None, stopped_at=now)
        .returning(worker.c.id)
    ).all()
    old = session.execute(
        sa.delete(worker)
        .where(worker.c.state == STOPPED, worker.c.seen_at < now - KEEP_WORKERS)
        .returning(worker.c.id)
    ).all()
    return Counts(changed=len(silent) + len(old))


def ended_attempts(session: Session, folders: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Of the (shard, token) pairs that have a folder on disk, those whose attempt no longer runs."""
    asked = sorted(set(folders))
    running: set[tuple[int, int]] = set()
    for start in range(0, len(asked), AT_ONCE):
        shards = {shard_id for shard_id, _ in asked[start : start + AT_ONCE]}
        query = sa.select(attempt.c.shard_id, attempt.c.token).where(
            attempt.c.shard_id.in_(shards), attempt.c.outcome == AttemptOutcome.RUNNING
        )
        running.update(session.execute(query).all())
    return [pair for pair in asked if pair not in running]


ACTS: Mapping[str, Act] = {
    "expire leases": expire_leases,
    "finish jobs": finish_jobs,
    "unblock dependents": unblock_dependents,
    "fire due schedules": fire_due_schedules,
    "forget stale workers": forget_stale_workers,
    "find unnudged": find_unnudged,
}
"""Every act of a maintenance pass in its order; each is to run in a transaction of its own."""
