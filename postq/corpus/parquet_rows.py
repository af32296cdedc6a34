"""Parquet files with named columns, streamed in small batches of rows."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from postq.contracts.document import SplitName
from postq.corpus.csv_rows import require_columns
from postq.corpus.fields import Columns
from postq.corpus.jsonl import known_id, record_of_columns
from postq.corpus.lines import MAX_RECORD_BYTES
from postq.corpus.location import Location
from postq.corpus.records import RawRecord, SetAside, SetAsideReason, UnfitRecord
from postq.corpus.streams import Meter, open_stored
from postq.errors import CorpusUnreadable

BATCH_BYTES = 8 * 1024 * 1024
MAX_BATCH_ROWS = 512
FEW_ROWS = 8
REPEATED_BYTES = 32 * 1024 * 1024
READ_BUFFER_BYTES = 1024 * 1024
BOMB_BYTES = 8 * 1024 * 1024
BOMB_RATIO = 500
"""Real text shrinks to a third or a tenth; what shrinks five-hundredfold was made to fill a memory."""


def read_parquet(
    location: Location, *, columns: Columns, split: SplitName | None = None, meter: Meter | None = None
) -> Iterator[RawRecord | SetAside]:
    """Read rows in order; row numbers start at 1. Raises CorpusUnreadable for anything but sound Parquet."""
    with open_stored(location) as raw:
        file = _open(raw, location)
        _refuse_bomb(file.metadata, location)
        names = file.schema_arrow.names
        require_columns(names, columns=columns, source=location.name)
        wanted = [name for name in (columns.id, columns.text, columns.labels, columns.split) if name in names]
        number = 0
        for batch in _batches(file, wanted, location):
            values = {name: _values(batch.column(name)) for name in wanted}
            for index in range(batch.num_rows):
                number += 1
                fields = {name: column[index] for name, column in values.items()}
                yield _record(fields, columns=columns, source=location.name, number=number, split=split)
            if meter is not None and meter.bytes_total:
                meter.bytes_done = min(meter.bytes_total, meter.bytes_done + batch.nbytes)


def _open(raw: Any, location: Location) -> Any:
    try:
        # Without pre-buffering and with a small buffer, memory follows the pages rather than the row groups.
        return pq.ParquetFile(raw, pre_buffer=False, buffer_size=READ_BUFFER_BYTES)
    except (pa.ArrowException, OSError) as exc:
        raise _unsound(location, exc) from exc


def _refuse_bomb(metadata: Any, location: Location) -> None:
    """Raise CorpusUnreadable when a column claims to unpack to far more than text ever does."""
    for group in range(metadata.num_row_groups):
        for index in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(index)
            unpacked, stored = chunk.total_uncompressed_size, max(1, chunk.total_compressed_size)
            if unpacked > BOMB_BYTES and unpacked > BOMB_RATIO * stored:
                raise CorpusUnreadable(
                    f"'{location.name}' unpacks to {unpacked // stored:,} times its size, as no text does.",
                    hint="Do not trust where the file came from; write it anew from its source if you do.",
                )


def _batches(file: Any, wanted: list[str], location: Location) -> Iterator[Any]:
    metadata = file.metadata
    groups = [metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups)]
    per_row = max(1, sum(groups) // max(1, metadata.num_rows))
    # One entry of a dictionary, as long as its row group, may stand in every row; small batches bound that.
    repeated = max(FEW_ROWS, REPEATED_BYTES // max([1, *groups]))
    rows = max(1, min(MAX_BATCH_ROWS, repeated, BATCH_BYTES // per_row))
    try:
        yield from file.iter_batches(batch_size=rows, columns=wanted, use_threads=False)
    except (pa.ArrowException, OSError) as exc:
        raise _unsound(location, exc) from exc


def _values(column: Any) -> list[Any]:
    """Python values; strings stay bytes for now, since Arrow does not check that they are UTF-8."""
    if pa.types.is_dictionary(column.type):
        entries = _values(column.dictionary)
        return [None if index is None else entries[index] for index in column.indices.to_pylist()]
    kind = column.type
    if pa.types.is_string(kind):
        column = column.cast(pa.binary())
    elif pa.types.is_large_string(kind):
        column = column.cast(pa.large_binary())
    elif pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        column = column.cast(pa.list_(pa.binary()))
    values: list[Any] = column.to_pylist()
    return values


def _record(
    fields: dict[str, Any], *, columns: Columns, source: str, number: int, split: SplitName | None
) -> RawRecord | SetAside:
    identifier = None
    try:
        decoded = {
            name: _decoded(value, field=name) for name, value in fields.items() if name != columns.text
        }
        identifier = known_id(decoded.get(columns.id))
        decoded[columns.text] = _decoded(fields.get(columns.text), field=columns.text)
        return record_of_columns(decoded, columns=columns, source=source, number=number, split=split)
    except UnfitRecord as unfit:
        unfit.document_id = identifier
        return unfit.set_aside(source, number)


def _decoded(value: Any, *, field: str) -> Any:
    if isinstance(value, list):
        return [_decoded(item, field=field) for item in value]
    if not isinstance(value, bytes):
        return value
    if len(value) > MAX_RECORD_BYTES:
        raise UnfitRecord(SetAsideReason.TOO_LONG, f"'{field}' is larger than the cap on one record")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise UnfitRecord(SetAsideReason.INVALID_UTF8, f"'{field}' is not UTF-8 at byte {exc.start}") from exc


def _unsound(location: Location, exc: Exception) -> CorpusUnreadable:
    first = (str(exc).strip().splitlines() or [type(exc).__name__])[0].rstrip(".")
    return CorpusUnreadable(
        f"'{location.name}' is not a sound Parquet file: {first}.",
        hint="Copy or write the file again; an empty or cut-off copy is the usual cause.",
    )
