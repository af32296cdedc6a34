"""The job table: what was asked for, the state it is in and why."""

from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from postq.contracts.specs import JobKind
from postq.db import NUMBERED_ONCE, BigKey, UtcDateTime, enum_type


class JobState(StrEnum):
    """The states of a job; `jobs/states.py` holds the edges between them and who moves them."""

    BLOCKED = "blocked"
    READY = "ready"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    SUCCEEDED_WITH_QUARANTINE = "succeeded_with_quarantine"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(SQLModel, table=True):
    """One submitted job."""

    __table_args__ = (sa.Index("ix_job_state_id", "state", "id"), NUMBERED_ONCE)

    id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    kind: JobKind = Field(sa_type=enum_type(JobKind))
    state: JobState = Field(sa_type=enum_type(JobState))
    reason: str = ""
    """Why the job is in its state, in one sentence."""
    spec: dict[str, Any] = Field(sa_type=sa.JSON)
    name: str = ""
    """A short title for listings, such as the corpus and bundle names."""
    priority: int = 100
    """Lower runs first."""
    device_kind: str = "any"
    memory_bytes: int = Field(default=0, sa_type=sa.BigInteger)
    idempotency_key: str | None = Field(default=None, unique=True)
    spec_digest: str = ""
    """SHA-256 of the spec and requirements: one key with two digests is refused."""
    after_job_id: int | None = Field(default=None, foreign_key="job.id", index=True, sa_type=BigKey)
    after_any: bool = False
    """Start however the job before it ended; otherwise only when it succeeded."""
    schedule_id: int | None = Field(default=None, foreign_key="schedule.id", index=True, sa_type=BigKey)
    corpus_id: int = Field(foreign_key="corpus.id", sa_type=BigKey)
    bundle_id: int | None = Field(default=None, foreign_key="bundle.id", sa_type=BigKey)
    """The bundle evaluated or classified with (resolved when the job became ready), or the one trained."""
    fingerprint: bytes | None = Field(default=None, sa_type=sa.LargeBinary)
    """16 bytes; pinned when the job became ready, so that one job never mixes two."""
    cancel_requested_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    documents_total: int = Field(default=0, sa_type=sa.BigInteger)
    documents_predicted: int = Field(default=0, sa_type=sa.BigInteger)
    documents_quarantined: int = Field(default=0, sa_type=sa.BigInteger)
    documents_skipped: int = Field(default=0, sa_type=sa.BigInteger)
    result: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON)
    """Small facts: metrics of a training or evaluation, counts, digests."""
    error: str | None = None
    """One sentence: why the job failed."""
    hint: str | None = None
    created_at: datetime = Field(sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
