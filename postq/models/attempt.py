"""The attempt table: one worker's try at one shard, from claim to outcome."""

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from postq.contracts.failure import FailureClass
from postq.db import NUMBERED_ONCE, BigKey, UtcDateTime, enum_type


class AttemptOutcome(StrEnum):
    """How an attempt ended."""

    RUNNING = "running"
    COMMITTED = "committed"
    FAILED = "failed"
    FENCED = "fenced"  # its token was no longer the row's: nothing it did was stored
    LOST = "lost"  # its lease ran out and the reconciler took the shard back
    RELEASED = "released"  # given back on drain; does not count
    CANCELLED = "cancelled"


class Attempt(SQLModel, table=True):
    """One try at a shard."""

    __table_args__ = (sa.UniqueConstraint("shard_id", "token"), NUMBERED_ONCE)

    id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    shard_id: int = Field(foreign_key="shard.id", sa_type=BigKey)
    job_id: int = Field(foreign_key="job.id", index=True, sa_type=BigKey)
    token: int = Field(sa_type=sa.BigInteger)
    worker_id: str
    device: str
    outcome: AttemptOutcome = Field(default=AttemptOutcome.RUNNING, sa_type=enum_type(AttemptOutcome))
    failure: FailureClass | None = Field(default=None, sa_type=enum_type(FailureClass))
    message: str | None = None
    started_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
