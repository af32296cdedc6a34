"""The worker table: one row per started worker process, its device and its last sign of life."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from postq.db import UtcDateTime


class Worker(SQLModel, table=True):
    """One start of one worker process; never reused, so a restarted worker is a new row."""

    id: str = Field(primary_key=True)
    """UUID of this process start."""
    hostname: str
    pid: int
    device: dict[str, Any] = Field(sa_type=sa.JSON)
    device_kind: str
    memory_bytes: int = Field(sa_type=sa.BigInteger)
    version: str
    state: str
    """`idle`, `busy`, `draining` or `stopped`."""
    shard_id: int | None = Field(default=None, sa_type=sa.BigInteger)
    started_at: datetime = Field(sa_type=UtcDateTime)
    seen_at: datetime = Field(index=True, sa_type=UtcDateTime)
    stopped_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
