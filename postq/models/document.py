"""The document reference table: which rows a corpus version has; texts stay in the snapshot."""

import sqlalchemy as sa
from sqlmodel import Field, SQLModel

from postq.db import BigKey


class DocumentRef(SQLModel, table=True):
    """One document of a corpus version, by reference."""

    __tablename__ = "document"
    __table_args__ = (sa.Index("ix_document_corpus_id_document_id", "corpus_id", "document_id"),)

    corpus_id: int = Field(foreign_key="corpus.id", primary_key=True, sa_type=BigKey)
    row: int = Field(primary_key=True, sa_type=BigKey, sa_column_kwargs={"autoincrement": False})
    document_id: str
    content_hash: bytes = Field(sa_type=sa.LargeBinary)
    """16 bytes."""
    word_count: int
