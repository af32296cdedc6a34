"""Asking about jobs: one, many, their history and the queue; a few statements each, however many shards."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import col

from postq.contracts.specs import JobKind
from postq.errors import NotFound
from postq.jobs.placement import unfit_for
from postq.jobs.progress import WINDOW, document_counts, progress_of
from postq.jobs.reasons import ShardFacts, is_waiting, reason_of
from postq.jobs.states import JOB_TERMINAL
from postq.jobs.views import AttemptView, EventView, JobView
from postq.jobs.workers import live_workers, overdue_after
from postq.models.attempt import AttemptOutcome
from postq.models.event import Event
from postq.models.job import Job, JobState
from postq.models.shard import Shard, ShardState
from postq.models.tables import attempt, job, shard, worker
from postq.models.tables import schedule as schedule_table
from postq.models.worker import Worker
from postq.settings import Settings

_FAILED = (AttemptOutcome.FAILED, AttemptOutcome.LOST, AttemptOutcome.FENCED)
_Facts = Mapping[ShardState, ShardFacts]


def job_view(
    session: Session, job_id: int, *, now: datetime, settings: Settings, attempts: int = 20
) -> JobView:
    """One job with its newest `attempts` attempts. Raises NotFound."""
    found = session.get(Job, job_id, populate_existing=True)
    if found is None:
        raise NotFound(f"There is no job {job_id}.", hint="See all jobs with: postq status.")
    history = _attempts(session, job_id, limit=attempts)
    return _views(session, [found], now=now, settings=settings, history=history)[0]


def list_jobs(
    session: Session,
    *,
    now: datetime,
    settings: Settings,
    states: Sequence[JobState] | None = None,
    kind: JobKind | None = None,
    limit: int = 50,
    before_id: int | None = None,
) -> list[JobView]:
    """Jobs, newest first; `before_id` continues a listing below that job."""
    query = sa.select(Job).order_by(col(Job.id).desc()).limit(limit)
    if states is not None:
        query = query.where(col(Job.state).in_(states))
    if kind is not None:
        query = query.where(col(Job.kind) == kind)
    if before_id is not None:
        query = query.where(col(Job.id) < before_id)
    return _views(session, list(session.scalars(query)), now=now, settings=settings)


def events_of(
    session: Session, job_id: int, *, after_id: int = 0, limit: int = 1000, newest: bool = False
) -> list[EventView]:
    """A job's history in order: the first `limit` lines after `after_id`, or the newest ones.

    Raises NotFound for an unknown job.
    """
    if session.scalar(sa.select(job.c.id).where(job.c.id == job_id)) is None:
        raise NotFound(f"There is no job {job_id}.", hint="See all jobs with: postq status.")
    order = col(Event.id).desc() if newest else col(Event.id)
    query = sa.select(Event).where(col(Event.job_id) == job_id, col(Event.id) > after_id)
    rows = list(session.scalars(query.order_by(order).limit(limit)))
    return [EventView(**row.model_dump()) for row in (reversed(rows) if newest else rows)]


def queue_depth(session: Session) -> dict[str, int]:
    """Ready shards by the device kind they need."""
    query = (
        sa.select(shard.c.device_kind, sa.func.count())
        .where(shard.c.state == ShardState.READY)
        .group_by(shard.c.device_kind)
    )
    return dict(session.execute(query).all())


def count_jobs(session: Session) -> dict[JobState, int]:
    """How many jobs are in each state."""
    query = sa.select(job.c.state, sa.func.count()).group_by(job.c.state)
    return dict(session.execute(query).all())


def _views(
    session: Session,
    jobs: Sequence[Job],
    *,
    now: datetime,
    settings: Settings,
    history: tuple[AttemptView, ...] | None = None,
) -> list[JobView]:
    going = [one.id for one in jobs if history is not None or one.state not in JOB_TERMINAL]
    facts = _shard_facts(session, going, now=now)
    alive = live_workers(session, now=now, settings=settings)
    unfit = unfit_for(session, [number for number in going if number is not None])
    schedules = _schedule_names(session, jobs)
    return [
        _view(
            session,
            one,
            facts.get(one.id or 0, {}),
            schedule=schedules.get(one.schedule_id or 0),
            alive=alive,
            unfit=unfit.get(one.id or 0, frozenset()),
            overdue=overdue_after(settings),
            history=history,
            now=now,
        )
        for one in jobs
    ]


def _schedule_names(session: Session, jobs: Sequence[Job]) -> dict[int, str]:
    numbers = {one.schedule_id for one in jobs} - {None}
    if not numbers:
        return {}
    query = sa.select(schedule_table.c.id, schedule_table.c.name).where(schedule_table.c.id.in_(numbers))
    return dict(session.execute(query).all())


def _view(
    session: Session,
    found: Job,
    facts: _Facts,
    *,
    schedule: str | None,
    alive: Sequence[Worker],
    unfit: Collection[str],
    overdue: timedelta,
    history: tuple[AttemptView, ...] | None,
    now: datetime,
) -> JobView:
    going = found.state not in JOB_TERMINAL
    waiting = is_waiting(found, facts)
    return JobView(
        **found.model_dump(include=_COPIED),
        id=found.id or 0,
        schedule=schedule,
        reason=reason_of(
            found,
            facts,
            workers=alive,
            unfit=unfit,
            overdue=overdue,
            before=_state_before(session, found),
            failure=_latest_failure(session, found) if _waits_to_retry(facts) else None,
            now=now,
        ),
        waiting=waiting,
        fingerprint=found.fingerprint.hex() if found.fingerprint else None,
        cancel_requested=found.cancel_requested_at is not None,
        documents=document_counts(found),
        progress=progress_of(
            found,
            facts,
            current=_one_shard(session, found) if going or history is not None else None,
            recently_done=_recently_done(session, found, now) if going else 0,
            waiting=waiting,
            now=now,
        ),
        shards={state.value: one.count for state, one in facts.items()},
        retries=_retries(session, found) if history is not None else 0,
        workers=_current_workers(session, found, now) if ShardState.LEASED in facts else (),
        worked_seconds=_worked_seconds(session, found, now) if history is not None else None,
        attempts=history or (),
    )


_COPIED = {
    *("kind", "state", "name", "priority", "spec", "corpus_id", "bundle_id", "after_job_id"),
    *("device_kind", "memory_bytes", "result", "error", "hint", "created_at", "started_at", "finished_at"),
}


def _shard_facts(
    session: Session, job_ids: Sequence[int | None], *, now: datetime
) -> dict[int, dict[ShardState, ShardFacts]]:
    claimable = sa.case((sa.or_(shard.c.not_before.is_(None), shard.c.not_before <= now), 1), else_=0)
    query = (
        sa.select(
            shard.c.job_id,
            shard.c.state,
            sa.func.count(),
            sa.func.sum(claimable),
            sa.func.min(shard.c.not_before, type_=shard.c.not_before.type),
            sa.func.min(
                sa.case((claimable == 1, sa.func.coalesce(shard.c.not_before, shard.c.ready_at))),
                type_=shard.c.ready_at.type,
            ),
            sa.func.sum(shard.c.progress_done),
            sa.func.sum(sa.case((shard.c.lease_until <= now, 1), else_=0)),
        )
        .where(shard.c.job_id.in_(job_ids))
        .group_by(shard.c.job_id, shard.c.state)
    )
    facts: dict[int, dict[ShardState, ShardFacts]] = defaultdict(dict)
    for job_id, state, count, ready, next_at, since, done, lapsed in session.execute(query):
        facts[job_id][state] = ShardFacts(
            count=count,
            claimable=int(ready or 0),
            next_at=next_at,
            claimable_since=since,
            progress_done=int(done or 0),
            lapsed=int(lapsed or 0) if state is ShardState.LEASED else 0,
        )
    return facts


def _state_before(session: Session, found: Job) -> JobState | None:
    if found.state is not JobState.BLOCKED:
        return None
    return session.scalar(sa.select(job.c.state).where(job.c.id == found.after_job_id))


def _waits_to_retry(facts: _Facts) -> bool:
    ready = facts.get(ShardState.READY)
    return ready is not None and ready.claimable == 0 and ShardState.LEASED not in facts


def _latest_failure(session: Session, found: Job) -> str | None:
    query = (
        sa.select(attempt.c.failure, attempt.c.message)
        .where(attempt.c.job_id == found.id, attempt.c.outcome.in_(_FAILED))
        .order_by(attempt.c.id.desc())
        .limit(1)
    )
    row = session.execute(query).first()
    return f"{row.failure}: {row.message}" if row is not None else None


def _one_shard(session: Session, found: Job) -> Shard | None:
    if found.kind is JobKind.CLASSIFY:
        return None
    return session.scalars(sa.select(Shard).where(col(Shard.job_id) == found.id).limit(1)).one_or_none()


def _recently_done(session: Session, found: Job, now: datetime) -> int:
    if found.kind is not JobKind.CLASSIFY or found.started_at is None:
        return 0
    query = sa.select(sa.func.sum(shard.c.documents_predicted + shard.c.documents_quarantined)).where(
        shard.c.job_id == found.id, shard.c.state == ShardState.DONE, shard.c.finished_at >= now - WINDOW
    )
    return int(session.execute(query).scalar_one() or 0)


def _retries(session: Session, found: Job) -> int:
    query = sa.select(sa.func.count()).where(attempt.c.job_id == found.id, attempt.c.outcome.in_(_FAILED))
    return session.execute(query).scalar_one()


def _current_workers(session: Session, found: Job, now: datetime) -> tuple[str, ...]:
    query = (
        sa.select(worker.c.hostname, attempt.c.device)
        .join_from(shard, attempt, (attempt.c.shard_id == shard.c.id) & (attempt.c.token == shard.c.token))
        .join(worker, worker.c.id == shard.c.owner)
        .where(shard.c.job_id == found.id, shard.c.state == ShardState.LEASED, shard.c.lease_until > now)
        .order_by(shard.c.id)
    )
    return tuple(f"{host} {device}" for host, device in session.execute(query))


def _attempts(session: Session, job_id: int, *, limit: int) -> tuple[AttemptView, ...]:
    names = [name for name in AttemptView.__dataclass_fields__ if name != "hostname"]
    query = (
        sa.select(*(attempt.c[name] for name in names), worker.c.hostname)
        .join_from(attempt, worker, worker.c.id == attempt.c.worker_id, isouter=True)
        .where(attempt.c.job_id == job_id)
        .order_by(attempt.c.id.desc())
        .limit(limit)
    )
    return tuple(AttemptView(**dict(row._mapping)) for row in session.execute(query))


def _worked_seconds(session: Session, found: Job, now: datetime) -> float:
    """How long the attempts took together, with time in which several ran at once counted once."""
    query = (
        sa.select(attempt.c.started_at, attempt.c.ended_at)
        .where(attempt.c.job_id == found.id)
        .order_by(attempt.c.started_at)
    )
    seconds, until = 0.0, None
    for began, ended in session.execute(query):
        begin, end = max(began, until or began), ended or now
        seconds += max((end - begin).total_seconds(), 0.0)
        until = max(end, until or end)
    return seconds
