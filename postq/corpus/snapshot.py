"""A corpus snapshot on disk, written whole and read by row range: the room's front door."""

from postq.corpus.facts import SnapshotFacts, SourceFacts
from postq.corpus.screening import Progress
from postq.corpus.snapshot_files import (
    DOCUMENTS_FILE,
    FACTS_FILE,
    SET_ASIDE_FILE,
    UNFINISHED_SUFFIX,
)
from postq.corpus.snapshot_reader import (
    SnapshotKeys,
    read_documents,
    read_facts,
    read_keys,
    read_set_aside,
    verify_snapshot,
)
from postq.corpus.snapshot_writer import file_digest, write_snapshot

__all__ = [
    "DOCUMENTS_FILE",
    "FACTS_FILE",
    "SET_ASIDE_FILE",
    "UNFINISHED_SUFFIX",
    "Progress",
    "SnapshotFacts",
    "SnapshotKeys",
    "SourceFacts",
    "file_digest",
    "read_documents",
    "read_facts",
    "read_keys",
    "read_set_aside",
    "verify_snapshot",
    "write_snapshot",
]
