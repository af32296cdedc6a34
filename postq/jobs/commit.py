"""The fenced commit: a shard's result is stored whole by the worker that holds it, or not at all."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.counted import counted
from postq.errors import IntegrityError
from postq.jobs.finish import settle
from postq.jobs.leases import Lease, end_attempt, held_by, pending_rows
from postq.jobs.states import move_shards
from postq.models.attempt import AttemptOutcome
from postq.models.shard import ShardState
from postq.models.tables import attempt, job, prediction, quarantine, shard
from postq.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCounts:
    """What a store wrote: documents of a classification, or the bundle a training made."""

    predicted: int = 0
    quarantined: int = 0
    bundle_id: int | None = None
    result: dict[str, Any] | None = None
    """Small facts for the job's row; merged over the ones given to `commit`."""


Store = Callable[[Session, Lease], StoredCounts]
"""Writes a result with the session of the commit; must not commit or roll back itself."""


def commit(
    session: Session,
    lease: Lease,
    *,
    now: datetime,
    settings: Settings,
    store: Store,
    result: dict[str, Any] | None = None,
    message: str = "committed",
    whole: bool = True,
) -> bool:
    """Store a shard's result in the caller's transaction; False when the lease was lost and nothing is kept.

    Committing what this very attempt has committed before changes nothing and is True again, so that a
    commit whose answer was lost may be repeated.

    The fence comes first, then `store`, then the counters; the last shard ends the job and starts those
    that wait for it. Raises IntegrityError when a classification leaves a document unaccounted for (unless it
    need not be `whole`: then it counts as skipped); the caller's transaction must then roll back and the
    attempt be failed.
    """
    won = move_shards(
        session,
        *held_by(lease),
        source=ShardState.LEASED,
        target=ShardState.DONE,
        now=now,
        message=message,
        progress_at=now,
    )
    if not won:
        end_attempt(session, lease, AttemptOutcome.FENCED, now=now, message="the lease was lost")
        return _outcome(session, lease) is AttemptOutcome.COMMITTED
    stored = store(session, lease)
    end_attempt(session, lease, AttemptOutcome.COMMITTED, now=now)
    if lease.splittable:
        count_documents(session, lease, stored, whole=whole)
    _note_result(session, lease, stored, result)
    settle(session, lease.job_id, now=now, settings=settings)
    return True


def _outcome(session: Session, lease: Lease) -> AttemptOutcome:
    query = sa.select(attempt.c.outcome).where(attempt.c.id == lease.attempt_id)
    return AttemptOutcome(session.execute(query).scalar_one())


def count_documents(session: Session, lease: Lease, stored: StoredCounts, *, whole: bool = True) -> None:
    """Book the shard's documents: each is predicted, quarantined or skipped, and none is left over.

    The rows themselves are counted, not what `store` says. Raises IntegrityError when they disagree.
    """
    predicted = _rows_of(session, prediction, lease)
    quarantined = _rows_of(session, quarantine, lease)
    left = pending_rows(session, lease) if whole else ()
    if left or (predicted, quarantined) != (stored.predicted, stored.quarantined):
        raise IntegrityError(
            f"Shard {lease.shard_id} stored {counted(predicted, 'prediction')} and "
            f"{counted(quarantined, 'quarantined document')}, reported {stored.predicted} and "
            f"{stored.quarantined}, and left {len(left)} without either.",
            hint="This is a fault of the scorer or of postq; the shard is not committed.",
        )
    counts = {
        "documents_predicted": predicted,
        "documents_quarantined": quarantined,
        "documents_skipped": lease.stop_row - lease.start_row - predicted - quarantined,
    }
    session.execute(sa.update(shard).where(shard.c.id == lease.shard_id).values(**counts))
    grown = {name: job.c[name] + count for name, count in counts.items()}
    session.execute(sa.update(job).where(job.c.id == lease.job_id).values(**grown))


def _rows_of(session: Session, table: sa.Table, lease: Lease) -> int:
    query = sa.select(sa.func.count()).where(
        table.c.job_id == lease.job_id, table.c.row >= lease.start_row, table.c.row < lease.stop_row
    )
    return session.execute(query).scalar_one()


def _note_result(session: Session, lease: Lease, stored: StoredCounts, result: dict[str, Any] | None) -> None:
    facts = {**(result or {}), **(stored.result or {})}
    values: dict[str, Any] = {"result": facts} if facts and not lease.splittable else {}
    if stored.bundle_id is not None:
        values["bundle_id"] = stored.bundle_id
    if values:
        session.execute(sa.update(job).where(job.c.id == lease.job_id).values(**values))
