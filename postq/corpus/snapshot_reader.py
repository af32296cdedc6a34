"""Reading a snapshot: documents by row range, keys without texts, facts, and a check of its bytes."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from postq.contracts.document import Document, SplitName
from postq.contracts.recipes import TextView
from postq.corpus.facts import SnapshotFacts
from postq.corpus.normalise import without_headings
from postq.corpus.records import SetAside, SetAsideReason
from postq.corpus.snapshot_files import DOCUMENTS_FILE, FACTS_FILE, SET_ASIDE_FILE
from postq.corpus.snapshot_writer import file_digest
from postq.errors import DigestMismatch, StorageUnavailable

_KEY_COLUMNS = ("document_id", "labels", "content_hash", "word_count", "split")


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotKeys:
    """All documents of a snapshot without their texts, in row order: about 300 bytes each."""

    document_ids: Sequence[str]
    content_hashes: Sequence[bytes]
    labels: Sequence[tuple[str, ...]]
    splits: Sequence[SplitName | None]
    """Official splits."""
    word_counts: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.document_ids)


def read_documents(
    folder: Path,
    *,
    start_row: int = 0,
    stop_row: int | None = None,
    rows: Collection[int] | None = None,
    view: TextView = "headings_and_paragraphs",
    with_text: bool = True,
) -> Iterator[Document]:
    """Stream the documents of [start_row, stop_row), of these only `rows` if given, in row order.

    One row group is in memory at a time. Without text, `text` is empty. Raises StorageUnavailable when the
    snapshot is not there, DigestMismatch when its Parquet file is damaged.
    """
    wanted = None if rows is None else np.unique(np.fromiter(rows, dtype=np.int64, count=len(rows)))
    columns = [*_KEY_COLUMNS, *(("text", "heading_spans") if with_text else ())]
    with _opened(folder) as file:
        stop = file.metadata.num_rows if stop_row is None else min(stop_row, file.metadata.num_rows)
        for group, first, last in _groups(file.metadata, start=start_row, stop=stop):
            inside = np.arange(max(first, start_row), min(last, stop))
            if wanted is not None:
                inside = wanted[(wanted >= inside[0]) & (wanted <= inside[-1])]
            if len(inside):
                table = _read_group(file, group, columns, folder).take(pa.array(inside - first))
                yield from _documents(table, inside, view=view)


def read_keys(folder: Path) -> SnapshotKeys:
    """All ids, hashes, labels, official splits and word counts, without reading any text."""
    with _opened(folder) as file:
        groups = range(file.metadata.num_row_groups)
        table = pa.concat_tables([_read_group(file, group, list(_KEY_COLUMNS), folder) for group in groups])
    return SnapshotKeys(
        document_ids=table.column("document_id").to_pylist(),
        content_hashes=table.column("content_hash").to_pylist(),
        labels=[tuple(labels) for labels in table.column("labels").to_pylist()],
        splits=table.column("split").to_pylist(),
        word_counts=table.column("word_count").to_numpy().astype(np.int32),
    )


def read_facts(folder: Path) -> SnapshotFacts:
    """The snapshot's facts. Raises StorageUnavailable when absent, DigestMismatch when unreadable."""
    try:
        return SnapshotFacts.model_validate_json((folder / FACTS_FILE).read_bytes())
    except OSError as exc:
        raise _absent(folder) from exc
    except ValidationError as exc:
        raise _damaged(folder, FACTS_FILE) from exc


def read_set_aside(folder: Path) -> Iterator[SetAside]:
    """Stream the records that were set aside, in the order they were met."""
    try:
        with (folder / SET_ASIDE_FILE).open(encoding="ascii") as file:
            for line in file:
                fields = json.loads(line)
                yield SetAside(**{**fields, "reason": SetAsideReason(fields["reason"])})
    except OSError as exc:
        raise _absent(folder) from exc


def verify_snapshot(folder: Path, *, digest: str | None = None) -> None:
    """Raise DigestMismatch unless documents.parquet is the file the facts (or `digest`) were written for."""
    expected = digest or read_facts(folder).digest
    try:
        found = file_digest(folder / DOCUMENTS_FILE)
    except OSError as exc:
        raise _absent(folder) from exc
    if found != expected:
        raise _damaged(folder, DOCUMENTS_FILE)


def _opened(folder: Path) -> Any:
    try:
        return pq.ParquetFile(folder / DOCUMENTS_FILE, pre_buffer=False)
    except OSError as exc:
        raise _absent(folder) from exc
    except pa.ArrowException as exc:
        raise _damaged(folder, DOCUMENTS_FILE) from exc


def _groups(metadata: Any, *, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """(row group, its first row, the row after its last) of the groups that hold rows of [start, stop)."""
    first = 0
    for group in range(metadata.num_row_groups):
        last = first + metadata.row_group(group).num_rows
        if first < stop and last > start:
            yield group, first, last
        first = last


def _read_group(file: Any, group: int, columns: list[str], folder: Path) -> Any:
    try:
        return file.read_row_group(group, columns=columns, use_threads=False)
    except (pa.ArrowException, OSError) as exc:
        raise _damaged(folder, DOCUMENTS_FILE) from exc


def _documents(table: Any, rows: NDArray[np.int64], *, view: TextView) -> Iterator[Document]:
    values = {name: table.column(name).to_pylist() for name in table.column_names}
    for index, row in enumerate(rows.tolist()):
        text = values["text"][index] if "text" in values else ""
        if view == "paragraphs" and text:
            text = without_headings(text, values["heading_spans"][index])
        yield Document(
            row=row,
            document_id=values["document_id"][index],
            text=text,
            content_hash=values["content_hash"][index],
            word_count=values["word_count"][index],
            labels=tuple(values["labels"][index]),
            split=values["split"][index],
        )


def _absent(folder: Path) -> StorageUnavailable:
    return StorageUnavailable(
        f"The corpus snapshot {folder} is not on this machine or cannot be read.",
        hint="Mount the storage that POSTQ_HOME names on every machine, or add the corpus again.",
    )


def _damaged(folder: Path, name: str) -> DigestMismatch:
    return DigestMismatch(
        f"{name} of the corpus snapshot {folder} is not the file it was written as.",
        hint="Restore it from a backup, or add the corpus again as a new version.",
    )
