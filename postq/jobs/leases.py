"""A lease: what its holder knows, and the writes it may make while its token is the row's."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.contracts.failure import FailureClass
from postq.contracts.specs import ClassifySpec, JobKind, JobSpec, job_spec
from postq.db import storable
from postq.jobs import planning
from postq.jobs.events import EventLine, write_event
from postq.jobs.finish import settle
from postq.jobs.states import move_shards
from postq.models.attempt import AttemptOutcome
from postq.models.shard import ShardState
from postq.models.tables import attempt, job, shard
from postq.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """One claimed shard and all that is needed to work on it; true until the token is raised."""

    shard_id: int
    job_id: int
    token: int
    attempt_id: int
    worker_id: str
    lease_until: datetime
    kind: JobKind
    spec: JobSpec
    corpus_id: int
    bundle_id: int | None
    fingerprint: bytes | None
    """16 bytes; every prediction of the job carries it."""
    start_row: int
    stop_row: int
    batch_divisor: int
    checkpoint: str | None
    """Newest registered checkpoint, relative to home."""
    checkpoint_step: int
    sticky: str
    attempts: int
    crashes: int

    @property
    def splittable(self) -> bool:
        """Only a classification can be cut into smaller pieces."""
        return self.kind is JobKind.CLASSIFY


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressReport:
    """Work moved: `done` of `total` in a phase."""

    phase: str
    done: int
    total: int
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """What a renewal said: not held means kill the runner; `stop` means end between batches."""

    held: bool
    stop: Literal["cancel"] | None = None


def lease_of(session: Session, shard_id: int) -> Lease:
    """The lease a leased shard stands under, read from its row, its job and its running attempt."""
    query = (
        sa.select(
            *(shard.c[name] for name in _FROM_SHARD),
            shard.c.id.label("shard_id"),
            shard.c.owner.label("worker_id"),
            *(job.c[name] for name in ("kind", "spec", "corpus_id", "bundle_id", "fingerprint")),
            attempt.c.id.label("attempt_id"),
        )
        .join_from(shard, job, shard.c.job_id == job.c.id)
        .join(attempt, (attempt.c.shard_id == shard.c.id) & (attempt.c.token == shard.c.token))
        .where(shard.c.id == shard_id)
    )
    facts = dict(session.execute(query).one()._mapping)
    facts["spec"] = job_spec.validate_python(facts["spec"])
    return Lease(**facts)


_FROM_SHARD = (
    *("job_id", "token", "lease_until", "start_row", "stop_row", "batch_divisor"),
    *("checkpoint", "checkpoint_step", "sticky", "attempts", "crashes"),
)


def pending_rows(session: Session, lease: Lease) -> tuple[int, ...]:
    """Rows of the shard still to be worked on, ascending; all of them but for some classifications."""
    if not isinstance(lease.spec, ClassifySpec):
        return tuple(range(lease.start_row, lease.stop_row))
    return planning.pending_rows(
        session,
        job_id=lease.job_id,
        spec=lease.spec,
        fingerprint=lease.fingerprint,
        start_row=lease.start_row,
        stop_row=lease.stop_row,
    )


def renew(
    session: Session,
    lease: Lease,
    *,
    now: datetime,
    lease_seconds: float,
    progress: ProgressReport | None = None,
) -> Renewal:
    """Prolong the lease; with `progress`, also say that work moved. Not held: nothing was written."""
    values: dict[str, Any] = {"lease_until": now + timedelta(seconds=lease_seconds)}
    if progress is not None:
        values |= {
            "phase": progress.phase,
            "progress_done": progress.done,
            "progress_total": progress.total,
            "progress_metrics": progress.metrics,
            "progress_at": now,
        }
    if not _write(session, lease, values):
        return Renewal(held=False)
    asked = session.execute(sa.select(job.c.cancel_requested_at).where(job.c.id == lease.job_id)).scalar_one()
    return Renewal(held=True, stop="cancel" if asked is not None else None)


def record_event(
    session: Session,
    lease: Lease,
    *,
    type: str,
    message: str,
    data: dict[str, Any] | None = None,
    now: datetime,
) -> bool:
    """Write a line to the job's history; says whether the lease was still held, else nothing is written."""
    if not _held(session, lease):
        return False
    _tell(session, lease, kind=type, message=storable(message), data=data, now=now)
    return True


def register_checkpoint(session: Session, lease: Lease, path: str, step: int, now: datetime) -> bool:
    """Make the checkpoint at `path` (relative to home) the one to resume from; says whether it counted.

    A step further than before is real progress: the failures on the way to it are forgiven, so that a long
    training is not given up for kills it survived.
    """
    further = step > sa.func.coalesce(shard.c.checkpoint_step, 0)
    values = {
        "checkpoint": path,
        "checkpoint_step": step,
        "attempts": sa.case((further, 0), else_=shard.c.attempts),
        "crashes": sa.case((further, 0), else_=shard.c.crashes),
        "progress_at": now,
    }
    if not _write(session, lease, values):
        return False
    _tell(session, lease, kind="checkpoint", message=path, data={"step": step}, now=now)
    return True


def release(
    session: Session, lease: Lease, *, now: datetime, settings: Settings, reason: str = "worker drains"
) -> bool:
    """Give the shard back unfinished; the attempt does not count. Says whether the lease was still held.

    When the job is being cancelled, the shard is cancelled instead.
    """
    cancelled = cancel_requested(session, lease.job_id)
    target = ShardState.CANCELLED if cancelled else ShardState.READY
    outcome = AttemptOutcome.CANCELLED if cancelled else AttemptOutcome.RELEASED
    moved = move_shards(
        session,
        *held_by(lease),
        source=ShardState.LEASED,
        target=target,
        now=now,
        message="cancelled" if cancelled else reason,
    )
    if not moved:
        end_attempt(session, lease, AttemptOutcome.FENCED, now=now)
        return False
    end_attempt(session, lease, outcome, now=now, message=reason)
    if cancelled:
        settle(session, lease.job_id, now=now, settings=settings)
    return True


def held_by(lease: Lease) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """The fence: the conditions every write of a worker carries, besides the state being leased."""
    return shard.c.id == lease.shard_id, shard.c.token == lease.token


def end_attempt(
    session: Session,
    lease: Lease,
    outcome: AttemptOutcome,
    *,
    now: datetime,
    failure: FailureClass | None = None,
    message: str | None = None,
) -> None:
    """Close the attempt's row, once: a later word on a closed attempt changes nothing."""
    session.execute(
        sa.update(attempt)
        .where(attempt.c.id == lease.attempt_id, attempt.c.outcome == AttemptOutcome.RUNNING)
        .values(outcome=outcome, failure=failure, message=message, ended_at=now)
    )


def _write(session: Session, lease: Lease, values: dict[str, Any]) -> bool:
    written = session.execute(
        sa.update(shard)
        .where(*held_by(lease), shard.c.state == ShardState.LEASED)
        .values(**values)
        .returning(shard.c.id)
    )
    return written.first() is not None


def _held(session: Session, lease: Lease) -> bool:
    query = sa.select(shard.c.id).where(*held_by(lease), shard.c.state == ShardState.LEASED)
    return session.execute(query.with_for_update(key_share=True)).first() is not None


def cancel_requested(session: Session, job_id: int) -> bool:
    """Whether the job is to stop."""
    query = sa.select(job.c.cancel_requested_at).where(job.c.id == job_id)
    return session.execute(query).scalar_one() is not None


def _tell(
    session: Session, lease: Lease, *, kind: str, message: str, data: dict[str, Any] | None, now: datetime
) -> None:
    line = EventLine(
        job_id=lease.job_id,
        shard_id=lease.shard_id,
        token=lease.token,
        type=kind,
        message=message,
        data=data,
    )
    write_event(session, line, now=now)
