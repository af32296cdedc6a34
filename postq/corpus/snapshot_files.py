"""The files of a snapshot folder: names, Parquet columns, and how the folder appears whole."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pyarrow as pa

from postq.corpus.normalise import HASH_BYTES
from postq.errors import Conflict, StorageUnavailable

DOCUMENTS_FILE = "documents.parquet"
SET_ASIDE_FILE = "set_aside.jsonl"
FACTS_FILE = "snapshot.json"
UNFINISHED_SUFFIX = ".unfinished"

SCHEMA = pa.schema(
    [
        pa.field("document_id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("heading_spans", pa.list_(pa.int32()), nullable=False),
        pa.field("labels", pa.list_(pa.string()), nullable=False),
        pa.field("content_hash", pa.binary(HASH_BYTES), nullable=False),
        pa.field("word_count", pa.int32(), nullable=False),
        pa.field("split", pa.string()),
    ]
)


@contextmanager
def appearing_whole(folder: Path) -> Iterator[Path]:
    """Yield a temporary sibling folder that becomes `folder` at the end, or vanishes on any exception.

    Raises Conflict when `folder` exists, StorageUnavailable when the disk is full or may not be written.
    """
    if folder.exists():
        raise Conflict(f"The folder {folder} exists already.", hint="Write the snapshot under a new name.")
    unfinished = folder.with_name(f".{folder.name}.{uuid4().hex[:8]}{UNFINISHED_SUFFIX}")
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        for path in (*unfinished.iterdir(), unfinished):
            flush_to_disk(path)
        unfinished.rename(folder)
        flush_to_disk(folder.parent)
    except OSError as exc:
        raise StorageUnavailable(
            f"The snapshot cannot be written to {folder.parent}: {exc.strerror or exc}.",
            hint="Free some space there, or set POSTQ_HOME to a folder with room that this user may write.",
        ) from exc
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def flush_to_disk(path: Path) -> None:
    """Make a file's or a folder's present content survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
