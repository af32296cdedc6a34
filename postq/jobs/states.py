"""The two state machines: what each state means, every legal edge, and the one way a row moves along it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.jobs.events import EventLine, write_events
from postq.models.job import JobState
from postq.models.shard import ShardState
from postq.models.tables import job, shard

JOB_MEANING: Mapping[JobState, str] = {
    JobState.BLOCKED: "Waits for the job named by `after_job_id`. "
    "The last commit of that job moves it on, or the reconciler, or a cancel.",
    JobState.READY: "Its shards are planned and no worker has claimed one yet. The first claim moves it on, "
    "planning itself when nothing is to be done, or a cancel.",
    JobState.RUNNING: "At least one shard was claimed. Whoever ends the last open shard moves it on: "
    "a commit, a failure, a cancel or the reconciler.",
    JobState.SUCCEEDED: "Every document is predicted or skipped, or the one result is stored. Terminal.",
    JobState.SUCCEEDED_WITH_QUARANTINE: "As succeeded, but some documents could not be scored and are set "
    "apart with their errors. Terminal.",
    JobState.FAILED: "A shard is dead, planning failed, or the job it waited for failed. "
    "Only a retry asked for by a person moves it on.",
    JobState.CANCELLED: "A person or a schedule stopped it before its work was complete. "
    "Only a retry asked for by a person moves it on.",
}

SHARD_MEANING: Mapping[ShardState, str] = {
    ShardState.READY: "Can be claimed once `not_before` is past. A claim moves it on, or a cancel.",
    ShardState.LEASED: "Belongs to the worker that holds its token until `lease_until`. "
    "That worker moves it on by commit, failure or release; when the lease runs out, the reconciler does.",
    ShardState.DONE: "Its result is stored. Terminal.",
    ShardState.SPLIT: "Two child shards took over its rows after it crashed too often. Terminal.",
    ShardState.DEAD: "Its budget of failures is used up, or the failure is of a class never retried. "
    "Only a retry of the job moves it on.",
    ShardState.CANCELLED: "Its job was cancelled before it was done. Only a retry of the job moves it on.",
}

JOB_EDGES: Mapping[tuple[JobState, JobState], str] = {
    (JobState.BLOCKED, JobState.READY): "predecessor succeeded",
    (JobState.BLOCKED, JobState.FAILED): "predecessor failed, or planning failed",
    (JobState.BLOCKED, JobState.CANCELLED): "cancel, or predecessor cancelled",
    (JobState.READY, JobState.RUNNING): "first claim",
    (JobState.READY, JobState.SUCCEEDED): "nothing to do",
    (JobState.READY, JobState.CANCELLED): "cancel",
    (JobState.RUNNING, JobState.SUCCEEDED): "last shard done",
    (JobState.RUNNING, JobState.SUCCEEDED_WITH_QUARANTINE): "last shard done, documents quarantined",
    (JobState.RUNNING, JobState.FAILED): "last shard ended, one is dead",
    (JobState.RUNNING, JobState.CANCELLED): "cancel, last shard ended",
    (JobState.FAILED, JobState.READY): "retry",
    (JobState.FAILED, JobState.BLOCKED): "retry, predecessor unfinished",
    (JobState.CANCELLED, JobState.READY): "retry",
    (JobState.CANCELLED, JobState.BLOCKED): "retry, predecessor unfinished",
}

SHARD_EDGES: Mapping[tuple[ShardState, ShardState], str] = {
    (ShardState.READY, ShardState.LEASED): "claim",
    (ShardState.READY, ShardState.CANCELLED): "cancel",
    (ShardState.LEASED, ShardState.DONE): "commit, or its one document is quarantined",
    (ShardState.LEASED, ShardState.READY): "retry, release or lost lease",
    (ShardState.LEASED, ShardState.SPLIT): "crash budget used up",
    (ShardState.LEASED, ShardState.DEAD): "budget used up, or never retried",
    (ShardState.LEASED, ShardState.CANCELLED): "cancel",
    (ShardState.DEAD, ShardState.READY): "retry of the job",
    (ShardState.CANCELLED, ShardState.READY): "retry of the job",
}

JOB_TERMINAL = frozenset(
    {JobState.SUCCEEDED, JobState.SUCCEEDED_WITH_QUARANTINE, JobState.FAILED, JobState.CANCELLED}
)
"""A job here has ended; only a person's retry can move it again."""
JOB_SUCCEEDED = frozenset({JobState.SUCCEEDED, JobState.SUCCEEDED_WITH_QUARANTINE})
SHARD_OPEN = frozenset({ShardState.READY, ShardState.LEASED})
"""A job is not over while one of its shards is here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A row that took the edge: its shard and token where it is a shard."""

    id: int
    job_id: int
    token: int | None = None


class IllegalMove(Exception):
    """A bug in postq: code asked for an edge that is not in the table."""


def move_jobs(
    session: Session,
    *where: sa.ColumnElement[bool],
    source: JobState,
    target: JobState,
    now: datetime,
    reason: str,
    **values: Any,
) -> list[Moved]:
    """Move every job that meets `where` and is in `source`; the event is written with it.

    Returns the jobs that moved: none means that somebody else was faster.
    """
    _check(JOB_EDGES, source, target)
    statement = (
        sa.update(job)
        .where(*where, job.c.state == source)
        .values(state=target, reason=reason, **_job_stamps(target, now), **values)
        .returning(job.c.id)
    )
    moved = [Moved(id=row.id, job_id=row.id) for row in session.execute(statement)]
    _tell(session, "job.state", moved, source, target, now=now, message=reason)
    return moved


def move_shards(
    session: Session,
    *where: sa.ColumnElement[bool],
    source: ShardState,
    target: ShardState,
    now: datetime,
    message: str = "",
    data: dict[str, Any] | None = None,
    **values: Any,
) -> list[Moved]:
    """Move every shard that meets `where` and is in `source`; the event is written with it.

    A worker's move has its token in `where`: nothing moved then means that it was fenced.
    """
    _check(SHARD_EDGES, source, target)
    statement = (
        sa.update(shard)
        .where(*where, shard.c.state == source)
        .values(state=target, **_shard_stamps(target, now), **values)
        .returning(shard.c.id, shard.c.job_id, shard.c.token)
    )
    rows = session.execute(statement).all()
    moved = [Moved(id=row.id, job_id=row.job_id, token=row.token) for row in rows]
    _tell(session, "shard.state", moved, source, target, now=now, message=message, data=data)
    return moved


def _check(edges: Mapping[Any, str], source: StrEnum, target: StrEnum) -> None:
    if (source, target) not in edges:
        raise IllegalMove(f"there is no edge from {source} to {target}")


def _job_stamps(target: JobState, now: datetime) -> dict[str, Any]:
    if target in JOB_TERMINAL:
        return {"finished_at": now}
    if target is JobState.RUNNING:
        return {"started_at": now}
    return {"finished_at": None}


def _shard_stamps(target: ShardState, now: datetime) -> dict[str, Any]:
    if target is ShardState.READY:
        return {"ready_at": now, "owner": None, "lease_until": None, "finished_at": None}
    if target is ShardState.LEASED:
        return {}
    return {"owner": None, "lease_until": None, "finished_at": now}


def _tell(
    session: Session,
    kind: str,
    moved: list[Moved],
    source: StrEnum,
    target: StrEnum,
    *,
    now: datetime,
    message: str,
    data: dict[str, Any] | None = None,
) -> None:
    lines = [
        EventLine(
            job_id=row.job_id,
            shard_id=row.id if kind == "shard.state" else None,
            token=row.token,
            type=kind,
            from_state=source.value,
            to_state=target.value,
            message=message,
            data=data,
        )
        for row in moved
    ]
    write_events(session, lines, now=now)
