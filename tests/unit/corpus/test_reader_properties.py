"""Whatever the bytes, readers end in a count that adds up or in one of the two errors meant for the user."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postq.corpus.facts import SnapshotFacts
from postq.corpus.fields import Columns
from postq.corpus.lines import bounded_lines
from postq.corpus.location import Input
from postq.corpus.snapshot import read_documents, read_keys, read_set_aside, write_snapshot
from postq.corpus.source import SourceForm, read_source
from postq.corpus.streams import Meter
from postq.errors import BadInput

shared = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
long_text = st.lists(st.text(st.characters(), min_size=1, max_size=8), min_size=8, max_size=14).map(" ".join)
sections = st.lists(
    st.fixed_dictionaries(
        {}, optional={"headtext": st.text() | json_values, "paragraphs": st.lists(long_text)}
    )
)
opinions = st.fixed_dictionaries(
    {},
    optional={
        "documentId": st.sampled_from(["a", "b", "c", ""]) | json_values,
        "postures": st.lists(st.text(max_size=5), max_size=3) | json_values,
        "sections": sections | json_values,
        "split": st.sampled_from(["train", "test", "dev", "other"]) | json_values,
    },
)
rows = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["a", "b", "c", ""]) | json_values,
        "text": long_text | json_values,
        "labels": st.lists(st.text(max_size=5), max_size=3) | json_values,
    },
)


@pytest.fixture
def fresh_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A new folder for each example."""
    return lambda: tmp_path_factory.mktemp("example")


def take_in(file: Path, *, form: SourceForm | None = None) -> SnapshotFacts | None:
    """Facts of the snapshot of `file`, after checking that they add up; None when it was refused."""
    meter = Meter()
    folder = file.parent / "snapshot"
    records = read_source([Input(path=str(file))], form=form, columns=Columns(), meter=meter)
    refused = None
    try:
        facts = write_snapshot(records, folder, sources=[str(file)], created=datetime.now(UTC), meter=meter)
    except BadInput as exc:  # CorpusUnreadable among them
        refused = exc
    if refused:
        assert (refused.message[-1], bool(refused.hint), folder.exists()) == (".", True, False)
        return None
    assert facts.records_read == facts.documents + facts.set_aside
    assert facts.documents == len(read_keys(folder)) == sum(1 for _ in read_documents(folder))
    assert facts.set_aside == sum(facts.reasons.values()) == sum(1 for _ in read_set_aside(folder))
    return facts


@shared
@given(
    data=st.binary(max_size=400),
    name=st.sampled_from(["x.jsonl", "x.csv", "x.tsv", "x.parquet", "x.txt", "x"]),
)
def test_arbitrary_bytes_never_crash_a_reader(data: bytes, name: str, fresh_folder: Any) -> None:
    file = fresh_folder() / name
    file.write_bytes(data)
    take_in(file)


@shared
@given(data=st.binary(max_size=300), cut=st.integers(0, 60), packing=st.sampled_from(["gz", "zst"]))
def test_arbitrary_bytes_after_compression_never_crash_a_reader(
    data: bytes, cut: int, packing: str, fresh_folder: Any
) -> None:
    packed = gzip.compress(data) if packing == "gz" else zstandard.compress(data)
    file = fresh_folder() / f"x.jsonl.{packing}"
    file.write_bytes(packed[: len(packed) - cut])
    take_in(file)


@shared
@given(lines=st.lists(opinions | json_values, min_size=1, max_size=6))
def test_every_line_of_the_source_form_is_a_document_or_set_aside(
    lines: list[Any], fresh_folder: Any
) -> None:
    file = fresh_folder() / "x.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    facts = take_in(file, form=SourceForm.SOURCE)
    assert facts is None or facts.records_read == len(lines)


@shared
@given(lines=st.lists(rows | json_values, min_size=1, max_size=6))
def test_every_generic_line_is_a_document_or_set_aside(lines: list[Any], fresh_folder: Any) -> None:
    file = fresh_folder() / "x.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    facts = take_in(file, form=SourceForm.JSONL)
    assert facts is None or facts.records_read == len(lines)


@shared
@given(body=st.lists(st.sampled_from([*b'a1 ,;"\n\r\xff\x00', 0xC3, 0xA9]), max_size=200).map(bytes))
def test_csv_rows_of_every_shape_are_counted(body: bytes, fresh_folder: Any) -> None:
    file = fresh_folder() / "x.csv"
    file.write_bytes(b"id,text\n1,one two three four five six seven eight nine ten\n" + body)
    facts = take_in(file)
    assert facts is None or facts.documents >= 1


@shared
@given(
    texts=st.lists(
        st.none() | long_text.map(lambda text: text.encode("utf-8", "replace")) | st.binary(), max_size=8
    ),
    labels=st.sampled_from([pa.string(), pa.list_(pa.string()), pa.int64()]),
)
def test_every_parquet_row_is_a_document_or_set_aside(
    texts: list[bytes | None], labels: Any, fresh_folder: Any
) -> None:
    table = pa.table(
        {
            "id": [str(number) for number in range(len(texts))],
            "text": pa.array(texts, type=pa.binary()).view(pa.string()),
            "labels": pa.nulls(len(texts), labels),
        }
    )
    file = fresh_folder() / "x.parquet"
    pq.write_table(table, file)
    facts = take_in(file)
    assert facts is None or facts.records_read == len(texts)


@given(
    data=st.lists(st.sampled_from([b"\n", b"ab", b"c"])).map(b"".join),
    size=st.integers(1, 7),
    limit=st.integers(1, 6),
)
def test_bounded_lines_are_the_lines_with_the_long_ones_left_out(data: bytes, size: int, limit: int) -> None:
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    expected = data.split(b"\n")
    if not expected[-1]:
        expected.pop()  # what follows the last newline is no line
    found = list(bounded_lines(chunks, limit=limit))
    assert found == [line if len(line) <= limit else None for line in expected]
