"""The schedule and fire tables: when to submit a job, and each slot that was fired."""

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from postq.db import BigKey, UtcDateTime, enum_type


class MissedPolicy(StrEnum):
    """What to do with slots no worker was there to fire."""

    COALESCE = "coalesce"  # one fire for the newest missed slot
    ALL = "all"  # one fire for every missed slot
    SKIP = "skip"  # none


class OverlapPolicy(StrEnum):
    """What to do when the previous fire's job is still going."""

    SKIP = "skip"
    QUEUE = "queue"
    CANCEL_OLD = "cancel-old"


class Schedule(SQLModel, table=True):
    """A recurring classification of a corpus with a bundle."""

    id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    name: str = Field(unique=True)
    cron: str
    timezone: str
    """IANA name."""
    corpus: str
    """Corpus reference; a bare name means its latest version at each fire."""
    bundle: str
    """Bundle reference, resolved at each fire; may be `@alias`."""
    device_kind: str = "any"
    memory_bytes: int = Field(default=0, sa_type=sa.BigInteger)
    priority: int = 100
    max_tokens_per_batch: int | None = None
    precision: str | None = None
    missed: MissedPolicy = Field(default=MissedPolicy.COALESCE, sa_type=enum_type(MissedPolicy))
    overlap: OverlapPolicy = Field(default=OverlapPolicy.SKIP, sa_type=enum_type(OverlapPolicy))
    paused: bool = False
    next_slot: datetime | None = Field(default=None, index=True, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    removed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class Fire(SQLModel, table=True):
    """One slot of a schedule that was dealt with; unique, so many workers fire it once."""

    __table_args__ = (sa.UniqueConstraint("schedule_id", "slot"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    schedule_id: int = Field(foreign_key="schedule.id", sa_type=BigKey)
    slot: datetime = Field(sa_type=UtcDateTime)
    job_id: int | None = Field(default=None, foreign_key="job.id", sa_type=BigKey)
    outcome: str
    """`fired`, `manual`, `skipped: missed`, `skipped: overlap`, or `failed: …`; details may follow."""
    fired_at: datetime = Field(sa_type=UtcDateTime)
