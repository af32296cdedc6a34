"""Exporting predictions as JSON lines, CSV or Parquet: streamed, and in place only when complete."""

import csv
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from postq.errors import StorageUnavailable
from postq.predictions.query import CHUNK, PredictionView

ExportFormat = Literal["jsonl", "csv", "parquet"]
_SCORED = pa.list_(pa.struct([("label", pa.string()), ("score", pa.float32())]))
_FIELDS: list[tuple[str, pa.DataType]] = [
    ("job", pa.int64()),
    ("corpus", pa.string()),
    ("document", pa.string()),
    ("row", pa.int64()),
    ("bundle", pa.int64()),
    ("bundle_name", pa.string()),
    ("fingerprint", pa.string()),
    ("tokens_total", pa.int32()),
    ("tokens_seen", pa.int32()),
    ("labels", _SCORED),
]


def export_predictions(
    found: Iterable[PredictionView], target: Path, *, form: ExportFormat, all_scores: bool = False
) -> int:
    """Write every prediction to `target`, replacing it only at the end; returns how many.

    With `all_scores` every label's score is written, not only of those predicted.
    Raises StorageUnavailable when the folder is missing, read-only or full; nothing half-written stays.
    """
    with replaced_when_complete(target) as stream:
        return write_stream(found, stream, form=form, all_scores=all_scores)


@contextmanager
def replaced_when_complete(target: Path) -> Iterator[IO[bytes]]:
    """A binary stream whose content takes `target`'s place once the block has ended well.

    Raises StorageUnavailable when the folder is missing, read-only or full; nothing half-written stays.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as exc:
        raise StorageUnavailable(
            f"{target} cannot be written: {exc.strerror or exc}.",
            hint="Name a file in a folder that exists, has room and may be written.",
        ) from exc


def write_stream(
    found: Iterable[PredictionView], stream: IO[bytes], *, form: ExportFormat, all_scores: bool = False
) -> int:
    """Write every prediction to an open binary stream; returns how many."""
    rows = (_row(one, all_scores=all_scores) for one in found)
    return _WRITERS[form](rows, stream, all_scores)


def _row(one: PredictionView, *, all_scores: bool) -> dict[str, Any]:
    row = {
        "job": one.job_id,
        "corpus": one.corpus,
        "document": one.document_id,
        "row": one.row,
        "bundle": one.bundle_id,
        "bundle_name": one.bundle,
        "fingerprint": one.fingerprint,
        "tokens_total": one.tokens_total,
        "tokens_seen": one.tokens_seen,
        "labels": _scored(one.labels),
    }
    return {**row, "scores": _scored(one.scores)} if all_scores else row


def _scored(pairs: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"label": label, "score": score} for label, score in pairs]


def _jsonl(rows: Iterator[dict[str, Any]], stream: IO[bytes], all_scores: bool) -> int:  # noqa: FBT001
    del all_scores
    count = 0
    for row in rows:
        stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        count += 1
    return count


def _csv(rows: Iterator[dict[str, Any]], stream: IO[bytes], all_scores: bool) -> int:  # noqa: FBT001
    """One line per document; labels and scores in one cell each, as `label=0.912; other=0.640`."""
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    names = [name for name, _ in _FIELDS] + (["scores"] if all_scores else [])
    writer = csv.DictWriter(text, fieldnames=names)
    writer.writeheader()
    count = 0
    for row in rows:
        cells = {name: _cell(value) if isinstance(value, list) else value for name, value in row.items()}
        writer.writerow(cells)
        count += 1
    text.detach()
    return count


def _cell(pairs: list[dict[str, Any]]) -> str:
    return "; ".join(f"{pair['label']}={pair['score']:.6g}" for pair in pairs)


def _parquet(rows: Iterator[dict[str, Any]], stream: IO[bytes], all_scores: bool) -> int:  # noqa: FBT001
    schema = pa.schema(_FIELDS + ([("scores", _SCORED)] if all_scores else []))
    count = 0
    with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        for first in rows:
            held = [first, *islice(rows, CHUNK - 1)]
            writer.write_table(pa.Table.from_pylist(held, schema=schema))
            count += len(held)
    return count


_WRITERS: dict[ExportFormat, Callable[[Iterator[dict[str, Any]], IO[bytes], bool], int]] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "parquet": _parquet,
}
