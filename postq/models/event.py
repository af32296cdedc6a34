"""The event table: an append-only line for every transition and everything worth telling."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from postq.db import BigKey, UtcDateTime


class Event(SQLModel, table=True):
    """One line of a job's history, written in the transaction of the change it tells."""

    id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    job_id: int = Field(foreign_key="job.id", index=True, sa_type=BigKey)
    shard_id: int | None = Field(default=None, sa_type=sa.BigInteger)
    token: int | None = Field(default=None, sa_type=sa.BigInteger)
    at: datetime = Field(sa_type=UtcDateTime)
    type: str
    """Such as `job.state`, `shard.state`, `shard.progress`, `detector.shy`, `checkpoint`."""
    from_state: str | None = None
    to_state: str | None = None
    message: str = ""
    data: dict[str, Any] | None = Field(default=None, sa_type=sa.JSON)
