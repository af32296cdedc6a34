"""Writing a snapshot's document references in bulk: COPY on PostgreSQL, executemany on SQLite."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from postq.corpus.snapshot import read_documents
from postq.models.tables import document as document_table

COLUMNS = ("corpus_id", "row", "document_id", "content_hash", "word_count")
BATCH_ROWS = 10_000


def insert_document_rows(session: Session, *, corpus_id: int, snapshot: Path) -> None:
    """Insert one row per document of the snapshot; memory does not grow with their number."""
    rows = (
        (corpus_id, document.row, document.document_id, document.content_hash, document.word_count)
        for document in read_documents(snapshot, with_text=False)
    )
    if session.get_bind().dialect.name == "postgresql":
        _copy(session, rows)
    else:
        _execute_many(session, rows)


def _copy(session: Session, rows: Iterator[tuple[Any, ...]]) -> None:
    raw: Any = session.connection().connection.driver_connection
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    with raw.cursor() as cursor, cursor.copy(f"COPY {document_table.name} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _execute_many(session: Session, rows: Iterator[tuple[Any, ...]]) -> None:
    connection = session.connection()
    while batch := [dict(zip(COLUMNS, row, strict=True)) for row in islice(rows, BATCH_ROWS)]:
        connection.execute(document_table.insert(), batch)
