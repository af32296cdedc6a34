"""The bundle and alias tables: trained models on disk, and the names that point at them."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from postq.db import NUMBERED_ONCE, BigKey, UtcDateTime


class BundleRow(SQLModel, table=True):
    """A registered bundle; its folder is immutable and named by its digest."""

    __tablename__ = "bundle"
    __table_args__ = NUMBERED_ONCE

    id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    name: str = Field(index=True)
    kind: str
    """`tfidf`, `encoder` or `ensemble`."""
    digest: str = Field(unique=True)
    path: str
    """Bundle folder, relative to home."""
    fingerprint: bytes = Field(sa_type=sa.LargeBinary)
    threshold_digest: str
    labels: list[str] = Field(sa_type=sa.JSON)
    metrics: dict[str, Any] = Field(sa_type=sa.JSON)
    """The small summary of the bundle's metrics.json."""
    size_bytes: int = Field(default=0, sa_type=sa.BigInteger)
    job_id: int | None = Field(default=None, index=True, sa_type=sa.BigInteger)
    """The training job that made it; no foreign key, since a job also names its bundle."""
    test_touches: int = 0
    """How often the bundle's test split was evaluated since its training, which did so once."""
    created_at: datetime = Field(sa_type=UtcDateTime)


class Alias(SQLModel, table=True):
    """A movable name such as `production` for a bundle."""

    name: str = Field(primary_key=True)
    bundle_id: int = Field(foreign_key="bundle.id", sa_type=BigKey)
    updated_at: datetime = Field(sa_type=UtcDateTime)
