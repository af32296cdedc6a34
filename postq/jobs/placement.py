"""Placement: which workers a job fits, and to whom a training for all devices is left."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.contracts.device import Device, DeviceKind
from postq.contracts.failure import FailureClass
from postq.jobs.leases import Lease
from postq.jobs.workers import STOPPED, silence
from postq.models.job import Job
from postq.models.tables import attempt, job, shard, worker
from postq.models.worker import Worker
from postq.settings import Settings

SLOWEST_FIRST: tuple[DeviceKind, ...] = ("cpu", "mps", "cuda")
"""A worker leaves nothing to owners of several slower devices: one GPU is worth more than four processes."""
DRAINING = "draining"


def fits(one: Worker, device_kind: str, memory_bytes: int) -> bool:
    """Whether a job with these needs could run on this worker."""
    return device_kind in ("any", one.device_kind) and memory_bytes <= one.memory_bytes


def takers(found: Job, fitting: Sequence[Worker]) -> list[Worker]:
    """Those of the live workers the job fits that may claim it: all, or the owners of several devices."""
    if not _asks_for_all(found):
        return list(fitting)
    return [one for one in fitting if _owns_several(one) or not _left_to(one, fitting)]


def placed_together(found: Job, placed: Sequence[Worker]) -> bool:
    """Whether a job for all devices is left to owners of several, `placed` being its takers."""
    return _asks_for_all(found) and bool(placed) and all(map(_owns_several, placed))


def _asks_for_all(found: Job) -> bool:
    return found.spec.get("devices") == "all"


def _owns_several(one: Worker) -> bool:
    return int(one.device.get("count", 1)) > 1


def _left_to(one: Worker, fitting: Sequence[Worker]) -> bool:
    kinds = _no_slower(one.device_kind)
    return any(
        _owns_several(other) and other.state != DRAINING and other.device_kind in kinds for other in fitting
    )


def left_to_others(device: Device, *, now: datetime, settings: Settings) -> sa.ColumnElement[bool]:
    """Whether a shard's job asks for all devices, this worker owns one, and a live one it fits owns several.

    Busy ones count, since the job asked for them; those that end, those not heard of and those that said they
    cannot do it do not. `takers` is the same rule told of rows that were read.
    """
    if device.count > 1:
        return sa.false()
    owner = (
        sa.select(sa.literal(1))
        .join_from(job, worker, sa.true())
        .where(
            job.c.id == shard.c.job_id,
            job.c.spec["devices"].as_string() == "all",
            worker.c.device["count"].as_integer() > 1,
            worker.c.id.not_in(_unfit_for(job.c.id)),
            worker.c.state.not_in((STOPPED, DRAINING)),
            worker.c.seen_at >= now - silence(settings),
            worker.c.device_kind.in_(_no_slower(device.kind)),
            shard.c.device_kind.in_(("any", worker.c.device_kind)),
            shard.c.memory_bytes <= worker.c.memory_bytes,
        )
        .correlate(shard)
    )
    return owner.exists()


def others_fit(session: Session, lease: Lease, *, now: datetime, settings: Settings) -> bool:
    """Whether a live worker that the lease's shard fits has not said yet that it cannot do the job."""
    able = (
        sa.select(worker.c.id)
        .join_from(shard, worker, sa.true())
        .where(
            shard.c.id == lease.shard_id,
            worker.c.id != lease.worker_id,
            worker.c.id.not_in(_unfit_for(sa.literal(lease.job_id))),
            worker.c.state.not_in((STOPPED, DRAINING)),
            worker.c.seen_at >= now - silence(settings),
            shard.c.device_kind.in_(("any", worker.c.device_kind)),
            shard.c.memory_bytes <= worker.c.memory_bytes,
        )
    )
    return session.scalar(able.limit(1)) is not None


def unfit_for(session: Session, job_ids: Collection[int]) -> dict[int, frozenset[str]]:
    """By job, the workers that said they cannot do it; jobs without any are left out."""
    said = (
        sa.select(attempt.c.job_id, attempt.c.worker_id)
        .where(attempt.c.job_id.in_(job_ids), attempt.c.failure == FailureClass.UNFIT)
        .distinct()
    )
    found: dict[int, set[str]] = defaultdict(set)
    for row in session.execute(said):
        found[row.job_id].add(row.worker_id)
    return {job_id: frozenset(workers) for job_id, workers in found.items()}


def _unfit_for(job_id: sa.ColumnElement[int]) -> sa.Select[str]:
    """The workers that said they cannot do a job."""
    return sa.select(attempt.c.worker_id).where(
        attempt.c.job_id == job_id, attempt.c.failure == FailureClass.UNFIT
    )


def _no_slower(kind: str) -> tuple[str, ...]:
    at = SLOWEST_FIRST.index(kind) if kind in SLOWEST_FIRST else 0
    return SLOWEST_FIRST[at:]
