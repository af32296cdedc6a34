"""Writing a snapshot: a stream of records into Parquet, the list of those set aside, and the facts."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from postq.corpus.facts import SnapshotFacts
from postq.corpus.normalise import NormalisedDocument
from postq.corpus.records import RawRecord, SetAside
from postq.corpus.screening import PROGRESS_RECORDS, Progress, Tally, screen
from postq.corpus.snapshot_files import (
    DOCUMENTS_FILE,
    FACTS_FILE,
    SCHEMA,
    SET_ASIDE_FILE,
    appearing_whole,
)
from postq.corpus.streams import Meter

GROUP_DOCUMENTS = 1000
GROUP_CHARACTERS = 8 * 1024 * 1024
"""A row group ends at whichever comes first, so that reading a few rows touches little text."""


def write_snapshot(
    records: Iterable[RawRecord | SetAside],
    folder: Path,
    *,
    sources: Sequence[str],
    created: datetime,
    meter: Meter | None = None,
    progress: Progress | None = None,
) -> SnapshotFacts:
    """Screen `records` and write them as a snapshot at `folder`, whole or not at all.

    `meter` is the one the reader of `records` fills; it is handed on to `progress`. Raises what the records
    raise, CorpusUnreadable when none is usable, Conflict when `folder` exists, StorageUnavailable on a full
    or read-only disk.
    """
    meter = meter or Meter()
    tally = Tally()
    with appearing_whole(folder) as unfinished:
        _write_records(records, unfinished, tally=tally, meter=meter, progress=progress)
        facts = SnapshotFacts(
            **tally.facts(forms=meter.forms).model_dump(),
            sources=tuple(sources),
            created=created,
            digest=file_digest(unfinished / DOCUMENTS_FILE),
        )
        (unfinished / FACTS_FILE).write_text(facts.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return facts


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_records(
    records: Iterable[RawRecord | SetAside],
    folder: Path,
    *,
    tally: Tally,
    meter: Meter,
    progress: Progress | None,
) -> None:
    with (
        _DocumentSink(folder / DOCUMENTS_FILE) as sink,
        (folder / SET_ASIDE_FILE).open("w", encoding="ascii") as set_aside,
    ):
        for item in screen(records, tally=tally):
            if isinstance(item, SetAside):
                set_aside.write(json.dumps(dataclasses.asdict(item)) + "\n")
            else:
                sink.add(item)
            if progress and tally.records_read % PROGRESS_RECORDS == 0:
                progress(tally.records_read, meter)
    if progress:
        progress(tally.records_read, meter)


class _DocumentSink:
    """Collects documents and writes them to Parquet one row group at a time."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(
            path,
            SCHEMA,
            compression="zstd",
            use_dictionary=["labels.list.element", "split"],
            write_statistics=False,  # nothing filters by value; the statistics of texts only cost space
        )
        self._pending: list[NormalisedDocument] = []
        self._characters = 0

    def __enter__(self) -> "_DocumentSink":
        return self

    def __exit__(self, *exc: object) -> None:
        if exc == (None, None, None):
            self._flush()
        self._writer.close()

    def add(self, document: NormalisedDocument) -> None:
        self._pending.append(document)
        self._characters += len(document.text)
        if len(self._pending) >= GROUP_DOCUMENTS or self._characters >= GROUP_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            table = pa.Table.from_arrays([_column(self._pending, field) for field in SCHEMA], schema=SCHEMA)
            self._writer.write_table(table, row_group_size=len(self._pending))
        self._pending.clear()
        self._characters = 0


def _column(documents: list[NormalisedDocument], field: Any) -> Any:
    return pa.array([getattr(document, field.name) for document in documents], type=field.type)
