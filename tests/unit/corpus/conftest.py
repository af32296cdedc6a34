"""What the tests of corpora share: writing small sources and reading them back."""

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from postq.corpus.facts import SnapshotFacts
from postq.corpus.location import Input
from postq.corpus.records import RawRecord, SetAside
from postq.corpus.snapshot import write_snapshot
from postq.corpus.source import read_source
from postq.corpus.streams import Meter

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WORDS = "the appellant seeks leave to appeal from the orders made below"

Read = Callable[..., tuple[list[RawRecord], list[SetAside]]]
Snapshot = Callable[..., SnapshotFacts]


@pytest.fixture(autouse=True)
def one_arrow_thread() -> Iterator[None]:
    """Arrow with one thread, so that measurements of memory and time mean something on a shared machine."""
    before = pa.cpu_count()
    pa.set_cpu_count(1)
    yield
    pa.set_cpu_count(before)


@pytest.fixture
def words() -> str:
    """Eleven words: just enough for a document."""
    return WORDS


@pytest.fixture
def write_lines(tmp_path: Path) -> Callable[..., Path]:
    """Write JSON objects (or raw bytes) as lines; compressed when the name says .gz."""

    def write(lines: Sequence[dict[str, Any] | bytes], name: str = "opinions.jsonl") -> Path:
        file = tmp_path / name
        encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        data = b"".join(line + b"\n" for line in encoded)
        file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return file

    return write


@pytest.fixture
def read() -> Read:
    """Read one source into (records, set aside)."""

    def read_one(path: Path | str, **options: Any) -> tuple[list[RawRecord], list[SetAside]]:
        split = options.pop("split", None)
        items = list(read_source([Input(path=str(path), split=split)], **options))
        records = [item for item in items if isinstance(item, RawRecord)]
        return records, [item for item in items if isinstance(item, SetAside)]

    return read_one


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """Write the snapshot of sources to a folder and return its facts."""

    def write(*paths: Path | Input, folder: Path | None = None, **options: Any) -> SnapshotFacts:
        inputs = [path if isinstance(path, Input) else Input(path=str(path)) for path in paths]
        meter = Meter()
        return write_snapshot(
            read_source(inputs, meter=meter, **options),
            folder or tmp_path / "snapshot",
            sources=[item.path for item in inputs],
            created=CREATED,
            meter=meter,
        )

    return write
