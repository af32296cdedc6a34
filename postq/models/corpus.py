"""The corpus table: one immutable version of a named corpus and where its snapshot lies."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from postq.db import NUMBERED_ONCE, BigKey, UtcDateTime


class Corpus(SQLModel, table=True):
    """One version of a corpus; adding under the same name again makes the next version."""

    __table_args__ = (sa.UniqueConstraint("name", "version"), NUMBERED_ONCE)

    id: int | None = Field(default=None, primary_key=True, sa_type=BigKey)
    name: str
    version: int
    path: str
    """Snapshot folder, relative to home."""
    digest: str
    """SHA-256 of documents.parquet."""
    source: str
    """Where it was read from, without credentials."""
    documents: int = Field(sa_type=sa.BigInteger)
    words: int = Field(sa_type=sa.BigInteger)
    labelled_documents: int = Field(default=0, sa_type=sa.BigInteger)
    set_aside: int = Field(default=0, sa_type=sa.BigInteger)
    facts: dict[str, Any] = Field(sa_type=sa.JSON)
    """Label counts, set-aside reasons, length percentiles, official splits."""
    created_at: datetime = Field(sa_type=UtcDateTime)
