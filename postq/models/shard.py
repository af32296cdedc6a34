"""The shard table: a row range of a job's corpus, its lease and its budgets."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from postq.contracts.failure import FailureClass
from postq.db import NUMBERED_ONCE, BigKey, UtcDateTime, enum_type


class ShardState(StrEnum):
    """The states of a shard; `jobs/states.py` holds the edges between them and who moves them."""

    READY = "ready"
    LEASED = "leased"
    DONE = "done"
    SPLIT = "split"
    DEAD = "dead"
    CANCELLED = "cancelled"


class Shard(SQLModel, table=True):
    """One claimable piece of a job: rows [start_row, stop_row) of its corpus snapshot."""

    __table_args__ = (
        sa.Index("ix_shard_claim", "state", "priority", "id"),
        sa.Index("ix_shard_sticky", "state", "sticky", "priority", "id"),
        sa.Index("ix_shard_job_state", "job_id", "state"),
        sa.Index("ix_shard_lease", "state", "lease_until"),
        NUMBERED_ONCE,
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    job_id: int = Field(foreign_key="job.id", sa_type=BigKey)
    parent_id: int | None = Field(default=None, foreign_key="shard.id", sa_type=BigKey)
    state: ShardState = Field(default=ShardState.READY, sa_type=enum_type(ShardState))
    start_row: int = Field(sa_type=sa.BigInteger)
    stop_row: int = Field(sa_type=sa.BigInteger)
    priority: int = 100
    device_kind: str = "any"
    memory_bytes: int = Field(default=0, sa_type=sa.BigInteger)
    sticky: str = ""
    """What a runner keeps loaded for this shard (a bundle digest): a claim prefers its own."""
    token: int = Field(default=0, sa_type=sa.BigInteger)
    """The fence: raised by every claim, carried by every write of the worker that claimed."""
    owner: str | None = None
    """Worker id (one per process start) that holds the lease."""
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    not_before: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """A retry waits until then."""
    attempts: int = 0
    """Attempts that count against the retry budget; drained and released ones do not."""
    crashes: int = 0
    """Attempts that killed their runner; the crash budget decides when to split."""
    batch_divisor: int = 1
    """Doubled after a device OOM."""
    phase: str = ""
    progress_done: int = Field(default=0, sa_type=sa.BigInteger)
    progress_total: int = Field(default=0, sa_type=sa.BigInteger)
    progress_metrics: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON)
    progress_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When work last moved; not touched by lease renewals."""
    checkpoint: str | None = None
    """Newest registered checkpoint, relative to home."""
    checkpoint_step: int = 0
    failure: FailureClass | None = Field(default=None, sa_type=enum_type(FailureClass))
    """Class of the latest failure."""
    error: str | None = None
    hint: str | None = None
    documents_predicted: int = Field(default=0, sa_type=sa.BigInteger)
    documents_quarantined: int = Field(default=0, sa_type=sa.BigInteger)
    documents_skipped: int = Field(default=0, sa_type=sa.BigInteger)
    ready_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
