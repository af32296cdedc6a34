"""Isolating a poisonous document: a crashing shard is halved until that one is left and set apart."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.contracts.failure import FailureClass
from postq.jobs.commit import StoredCounts, count_documents
from postq.jobs.leases import Lease, held_by, pending_rows
from postq.jobs.states import move_shards
from postq.models.shard import ShardState
from postq.models.tables import quarantine, shard
from postq.settings import Settings


def split(
    session: Session, lease: Lease, *, failure: FailureClass, message: str, now: datetime, settings: Settings
) -> None:
    """Replace the shard by two, each with half of the rows that are still to be done.

    A child of several rows comes with all but one crash of its budget used, so that the guilty half is
    halved at its first crash; a child of one row starts afresh, with whole batches too, so that no document
    is set apart for one crash that may have had another cause.
    """
    rows = pending_rows(session, lease)
    middle = len(rows) // 2
    move_shards(
        session,
        *held_by(lease),
        source=ShardState.LEASED,
        target=ShardState.SPLIT,
        now=now,
        message=f"{failure}: {message}",
        data={"rows": len(rows), "boundary": rows[middle]},
    )
    pieces = [
        (lease.start_row, rows[middle], middle),
        (rows[middle], lease.stop_row, len(rows) - middle),
    ]
    for start, stop, pending in pieces:
        crashes = settings.crash_budget - 1 if pending > 1 else 0
        _insert_child(session, lease, start=start, stop=stop, pending=pending, crashes=crashes, now=now)


def _insert_child(
    session: Session, lease: Lease, *, start: int, stop: int, pending: int, crashes: int, now: datetime
) -> None:
    inherited = ("job_id", "priority", "device_kind", "memory_bytes", "sticky")
    given = {
        "parent_id": lease.shard_id,
        "start_row": start,
        "stop_row": stop,
        "crashes": crashes,
        "batch_divisor": lease.batch_divisor if pending > 1 else 1,
    }
    columns = [shard.c[name] for name in inherited] + [
        sa.literal(value, shard.c[name].type) for name, value in given.items()
    ]
    row = sa.select(*columns, sa.literal(now, shard.c.ready_at.type)).where(shard.c.id == lease.shard_id)
    session.execute(sa.insert(shard).from_select([*inherited, *given, "ready_at"], row))


def quarantine_last(
    session: Session, lease: Lease, *, failure: FailureClass, message: str, now: datetime, settings: Settings
) -> None:
    """Set apart the one document left in the shard, with its error; the shard is then done."""
    del settings
    rows = pending_rows(session, lease)
    set_apart = [
        {"job_id": lease.job_id, "row": row, "attempt_id": lease.attempt_id, "error": f"{failure}: {message}"}
        for row in rows
    ]
    if set_apart:
        session.execute(sa.insert(quarantine), set_apart)
    move_shards(
        session,
        *held_by(lease),
        source=ShardState.LEASED,
        target=ShardState.DONE,
        now=now,
        message=f"row {rows[0]} quarantined after {failure}" if rows else "nothing was left to do",
    )
    count_documents(session, lease, StoredCounts(quarantined=len(rows)))
