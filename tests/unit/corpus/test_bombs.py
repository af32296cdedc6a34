"""Small files that unpack to enormous ones are refused, or read within a bound of memory."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from postq.corpus.location import Input
from postq.corpus.source import SourceForm, read_source
from postq.errors import CorpusUnreadable

READ = """
import sys
from pathlib import Path
from postq.corpus.location import Input
from postq.corpus.records import SetAside
from postq.corpus.source import SourceForm, read_source

def peak():
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if "VmHWM" in line).split()[1]) // 1024

def read(path):
    records = read_source([Input(path=path)], form=SourceForm(sys.argv[1]))
    counts = [0, 0]
    for record in records:
        counts[isinstance(record, SetAside)] += 1
    return counts

read(sys.argv[2])
before = peak()
taken, aside = read(sys.argv[3])
print(peak() - before, taken, aside)
"""
MEGABYTE = 2**20
WORDS = "the appellant seeks leave to appeal from the orders made below"


def one_endless_line(opened: object) -> None:
    for _ in range(400):
        opened.write(b"endless words " * 75_000)  # type: ignore[attr-defined]


def a_million_empty_lines(opened: object) -> None:
    for _ in range(20):
        opened.write(b"\n" * 50_000)  # type: ignore[attr-defined]


def one_endless_field(opened: object) -> None:
    opened.write(b'{"id": "1", "text": "')  # type: ignore[attr-defined]
    one_endless_line(opened)
    opened.write(b'"}\n')  # type: ignore[attr-defined]


def packed(path: Path, fill: Callable[[object], None]) -> Path:
    if path.suffix == ".gz":
        with gzip.open(path, "wb", compresslevel=1) as stream:
            fill(stream)
    else:
        with path.open("wb") as raw, zstandard.ZstdCompressor().stream_writer(raw) as stream:
            fill(stream)
    return path


def growth(form: str, small: Path, bomb: Path, repository: Path) -> tuple[int, int, int]:
    """Megabytes the reading process grew by, records taken, records set aside."""
    done = subprocess.run(
        [sys.executable, "-c", READ, form, str(small), str(bomb)],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    grown, taken, aside = map(int, done.stdout.split())
    return grown, taken, aside


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to measure peak memory")
@pytest.mark.parametrize(
    ("fill", "expected"),
    [(one_endless_line, (0, 1)), (one_endless_field, (0, 1)), (a_million_empty_lines, (0, 0))],
)
@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_packed_line_of_hundreds_of_megabytes_is_set_aside_in_little_memory(
    suffix: str, fill: Callable[[object], None], expected: tuple[int, int], tmp_path: Path, repository: Path
) -> None:
    small = tmp_path / "small.jsonl"
    small.write_text(json.dumps({"id": "1", "text": WORDS}) + "\n")
    bomb = packed(tmp_path / f"bomb.jsonl{suffix}", fill)
    assert bomb.stat().st_size < 8 * MEGABYTE
    grown, *counts = growth("jsonl", small, bomb, repository)
    assert tuple(counts) == expected
    assert grown < 160


def parquet(path: Path, texts: pa.Array) -> Path:
    table = pa.table({"id": [str(number) for number in range(len(texts))], "text": texts})
    pq.write_table(table, path, compression="zstd")
    return path


def test_a_parquet_column_that_shrank_five_hundredfold_is_refused(tmp_path: Path) -> None:
    text = "words of a long opinion " * 800_000
    table = pa.table({"id": ["1"], "text": [text]})
    file = tmp_path / "bomb.parquet"
    pq.write_table(table, file, compression="zstd")
    with pytest.raises(CorpusUnreadable, match=r"times its size, as no text does\.$"):
        list(read_source([Input(path=str(file))], form=SourceForm.PARQUET))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to measure peak memory")
@pytest.mark.parametrize("kept_as_dictionary", [True, False])
def test_a_parquet_text_that_every_row_repeats_takes_the_memory_of_a_few(
    *, kept_as_dictionary: bool, tmp_path: Path, repository: Path
) -> None:
    # Given 60 rows of one text of 6 MB: 360 MB in all, kept once
    small = parquet(tmp_path / "small.parquet", pa.array([WORDS]))
    repeated = pa.DictionaryArray.from_arrays(
        pa.array([0] * 60, pa.int32()), pa.array(["an opinion of the court " * 250_000])
    )
    file = tmp_path / "bomb.parquet"
    table = pa.table({"id": [str(number) for number in range(60)], "text": repeated})
    pq.write_table(table, file, compression="zstd", store_schema=kept_as_dictionary)
    assert file.stat().st_size < MEGABYTE
    # When they are read
    grown, *counts = growth("parquet", small, file, repository)
    assert counts == [60, 0]
    assert grown < 300


def test_json_nested_ten_thousandfold_is_set_aside(tmp_path: Path) -> None:
    file = tmp_path / "nested.jsonl"
    file.write_bytes(b'{"id": "1", "text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n")
    (record,) = read_source([Input(path=str(file))], form=SourceForm.JSONL)
    assert type(record).__name__ == "SetAside"
