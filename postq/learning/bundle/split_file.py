"""The split manifest stored with every bundle: which document lay in which split and cluster."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from postq.learning.bundle.manifest import SPLIT
from postq.learning.data import SplitEntry

SCHEMA = pa.schema(
    [
        ("document_id", pa.string()),
        ("content_hash", pa.binary()),
        ("cluster", pa.int64()),
        ("split", pa.dictionary(pa.int8(), pa.string())),
    ]
)


def write_split(folder: Path, entries: Sequence[SplitEntry]) -> None:
    """Write `split.parquet` into a bundle folder."""
    columns = {name: [getattr(entry, name) for entry in entries] for name in SCHEMA.names}
    pq.write_table(pa.table(columns, schema=SCHEMA), folder / SPLIT, compression="zstd")


def read_split(folder: Path) -> list[SplitEntry]:
    """The split manifest of a bundle folder."""
    rows = pq.read_table(folder / SPLIT).to_pylist()
    return [SplitEntry(**row) for row in rows]
