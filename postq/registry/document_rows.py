"""Writing a snapshot's document references in bulk."""

from pathlib import Path

from sqlalchemy.orm import Session

from postq.bulk import insert_many
from postq.corpus.snapshot import read_documents
from postq.models.tables import document as document_table

COLUMNS = ("corpus_id", "row", "document_id", "content_hash", "word_count")


def insert_document_rows(session: Session, *, corpus_id: int, snapshot: Path) -> None:
    """Insert one row per document of the snapshot; memory does not grow with their number."""
    rows = (
        (corpus_id, document.row, document.document_id, document.content_hash, document.word_count)
        for document in read_documents(snapshot, with_text=False)
    )
    insert_many(session, document_table, COLUMNS, rows)
