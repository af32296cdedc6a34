"""What is known about a source or a snapshot once every record has been read: counts, labels, lengths."""

from datetime import datetime

from postq.contracts.record import Record


class WordFacts(Record):
    """Lengths of the documents in words, headings included."""

    total: int
    mean: float
    median: float
    p75: float
    p95: float
    p99: float
    longest: int


class SourceFacts(Record):
    """Counts of one pass over a source."""

    forms: tuple[str, ...]
    """Forms its files came in."""
    records_read: int
    documents: int
    set_aside: int
    """Always `records_read - documents`."""
    reasons: dict[str, int]
    """Records set aside, by reason."""
    label_counts: dict[str, int]
    """Documents per label, commonest first."""
    labelled_documents: int
    exact_duplicates: int
    """Documents whose content an earlier document has under another id; they are kept."""
    splits: dict[str, int]
    """Documents per official split."""
    words: WordFacts


class SnapshotFacts(SourceFacts):
    """What `snapshot.json` says about a snapshot."""

    format_version: int = 1
    sources: tuple[str, ...]
    """What was read, without credentials."""
    created: datetime
    digest: str
    """SHA-256 of documents.parquet, in hexadecimal."""
