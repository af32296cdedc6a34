"""Rows of workers: who started, on which device, and when it was last heard of."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import col

from postq.contracts.device import Device
from postq.models.tables import worker as table
from postq.models.worker import Worker
from postq.settings import Settings

STOPPED = "stopped"


def register_worker(
    session: Session,
    *,
    worker_id: str,
    hostname: str,
    pid: int,
    device: Device,
    version: str,
    now: datetime,
) -> None:
    """Record the start of a worker process; `worker_id` is of this start alone."""
    row = {
        "id": worker_id,
        "hostname": hostname,
        "pid": pid,
        "device": device.model_dump(mode="json"),
        "device_kind": device.kind,
        "memory_bytes": device.memory_bytes,
        "version": version,
        "state": "idle",
        "started_at": now,
        "seen_at": now,
    }
    session.execute(sa.insert(table).values(row))


def heartbeat(session: Session, worker_id: str, *, state: str, shard_id: int | None, now: datetime) -> bool:
    """Say that the worker lives and what it does; False when its row was pruned meanwhile.

    A worker that was taken for dead and speaks again counts as live again.
    """
    spoken = session.execute(
        sa.update(table)
        .where(table.c.id == worker_id)
        .values(state=state, shard_id=shard_id, seen_at=now, stopped_at=None)
        .returning(table.c.id)
    )
    return spoken.first() is not None


def mark_stopped(session: Session, worker_id: str, *, now: datetime) -> None:
    """Say that the worker ended in good order."""
    session.execute(
        sa.update(table)
        .where(table.c.id == worker_id)
        .values(state=STOPPED, shard_id=None, seen_at=now, stopped_at=now)
    )


def live_workers(session: Session, *, now: datetime, settings: Settings) -> list[Worker]:
    """Workers heard of lately, oldest first."""
    query = (
        sa.select(Worker)
        .where(col(Worker.state) != STOPPED, col(Worker.seen_at) >= now - silence(settings))
        .order_by(col(Worker.started_at), col(Worker.id))
    )
    return list(session.scalars(query))


def overdue_after(settings: Settings) -> timedelta:
    """A heartbeat that is late by this much was missed more than once, though its worker may yet live."""
    return timedelta(seconds=3 * settings.reconcile_seconds)


def silence(settings: Settings) -> timedelta:
    """A worker not heard of for this long is taken for dead."""
    return timedelta(seconds=max(2 * settings.lease_seconds, 3 * settings.reconcile_seconds))
