"""One bad record is set aside with its reason and number, and costs no other."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from postq.corpus import csv_rows, jsonl, parquet_rows, text_files
from postq.corpus.lines import bounded_lines
from postq.corpus.records import SetAsideReason
from postq.corpus.snapshot import read_documents, read_set_aside

CAP = 4096


@pytest.fixture
def small_cap(monkeypatch: pytest.MonkeyPatch) -> int:
    """Records may have no more than 4 KiB."""
    for module in (csv_rows, parquet_rows, text_files):
        monkeypatch.setattr(module, "MAX_RECORD_BYTES", CAP)
    for module in (csv_rows, jsonl):
        monkeypatch.setattr(module, "bounded_lines", lambda chunks: bounded_lines(chunks, limit=CAP))
    return CAP


def opinion(**fields: Any) -> dict[str, Any]:
    return {"documentId": "x", "postures": [], "sections": [{"headtext": "h", "paragraphs": ["p"]}]} | fields


@pytest.mark.parametrize(
    ("line", "reason", "identifier"),
    [
        (b'{"documentId": "x", ', "bad_record", None),
        (b"[1, 2]", "bad_record", None),
        (b"9" * 6000, "bad_record", None),
        (b"[" * 200_000, "bad_record", None),
        (b'{"documentId": "\xe9"}', "invalid_utf8", None),
        (opinion(documentId=None), "missing_id", None),
        (opinion(documentId=" \t"), "missing_id", None),
        (opinion(documentId=True), "wrong_type", None),
        (opinion(documentId=["x"]), "wrong_type", None),
        (opinion(sections=None), "missing_text", "x"),
        (opinion(sections="text"), "wrong_type", "x"),
        (opinion(sections=["text"]), "wrong_type", "x"),
        (opinion(sections=[{"headtext": 3}]), "wrong_type", "x"),
        (opinion(sections=[{"paragraphs": "p"}]), "wrong_type", "x"),
        (opinion(sections=[{"paragraphs": ["p", 4]}]), "wrong_type", "x"),
        (opinion(postures="On Appeal"), "wrong_type", "x"),
        (opinion(postures=["a", None]), "wrong_type", "x"),
        (opinion(split="holdout"), "unknown_split", "x"),
        (opinion(split=3), "wrong_type", "x"),
    ],
)
def test_a_bad_line_of_the_source_form_is_set_aside_alone(
    line: Any, reason: str, identifier: str | None, write_lines: Any, read: Any
) -> None:
    file = write_lines([opinion(documentId="before"), line, opinion(documentId="after")])
    records, (aside,) = read(file)
    assert [record.document_id for record in records] == ["before", "after"]
    assert (aside.reason, aside.number, aside.document_id) == (reason, 2, identifier)
    assert aside.detail


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": "t"}, "missing_id"),
        ({"id": "1"}, "missing_text"),
        ({"id": "1", "text": None}, "missing_text"),
        ({"id": "1", "text": ["t"]}, "wrong_type"),
        ({"id": "1", "text": "t", "labels": {"a": 1}}, "wrong_type"),
        ({"id": 1.5, "text": "t"}, "wrong_type"),
    ],
)
def test_a_bad_generic_record_is_set_aside(
    row: dict[str, Any], reason: str, write_lines: Any, read: Any
) -> None:
    records, (aside,) = read(write_lines([row, {"id": "2", "text": "t"}]))
    assert (len(records), aside.reason) == (1, reason)


def test_csv_rows_fail_one_by_one(tmp_path: Path, read: Any) -> None:
    file = tmp_path / "rows.csv"
    rows = [b"id,text", b"1,good", b"2,too,many", b"3,\xff\xfe", b'4,"open" quote', b"5,", b"", b"6,good"]
    file.write_bytes(b"\n".join(rows))
    records, set_aside = read(file)
    assert [(record.document_id, record.number) for record in records] == [("1", 2), ("5", 6), ("6", 8)]
    assert [(aside.reason, aside.number) for aside in set_aside] == [
        ("bad_record", 3),
        ("invalid_utf8", 4),
        ("bad_record", 5),
    ]


def test_parquet_rows_fail_one_by_one(tmp_path: Path, read: Any, small_cap: int) -> None:
    texts = pa.array([b"good", b"\xff", None, b"x" * (small_cap + 1), b"good"], type=pa.binary())
    table = pa.table({"id": ["1", "2", "3", "4", None], "text": texts.view(pa.string())})
    pq.write_table(table, tmp_path / "rows.parquet")
    records, set_aside = read(tmp_path / "rows.parquet")
    assert [record.document_id for record in records] == ["1"]
    assert [(aside.reason, aside.number, aside.document_id) for aside in set_aside] == [
        ("invalid_utf8", 2, "2"),
        ("missing_text", 3, "3"),
        ("too_long", 4, "4"),
        ("missing_id", 5, None),
    ]


def test_text_files_fail_one_by_one(tmp_path: Path, read: Any, small_cap: int) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, data in {"a": b"good", "b": b"\xff\xfe", "c": b"x" * (small_cap + 1), "d": b"good"}.items():
        (folder / f"{name}.txt").write_bytes(data)
    records, set_aside = read(folder)
    assert [record.document_id for record in records] == ["a.txt", "d.txt"]
    assert [(aside.reason, aside.document_id) for aside in set_aside] == [
        ("invalid_utf8", "b.txt"),
        ("too_long", "c.txt"),
    ]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_a_line_over_the_cap_is_set_aside_and_the_next_line_is_read(
    name: str, tmp_path: Path, read: Any, small_cap: int
) -> None:
    long_text = "x" * (small_cap + 1)
    rows = {
        "rows.jsonl": f'{{"id": "1", "text": "{long_text}"}}\n{{"id": "2", "text": "t"}}\n',
        "rows.csv": f"id,text\n1,{long_text}\n2,t\n",
    }
    (tmp_path / name).write_text(rows[name], encoding="utf-8")
    (record,), (aside,) = read(tmp_path / name)
    assert (record.document_id, aside.reason) == ("2", "too_long")


def test_an_id_or_a_label_too_long_for_an_index_is_set_aside(
    write_lines: Any, snapshot: Any, words: str, tmp_path: Path
) -> None:
    section = [{"paragraphs": [words]}]
    name = "ü" * 1000
    lines = [
        opinion(documentId=name, postures=[name], sections=section),
        opinion(documentId=name + "x", sections=section),
        opinion(documentId="long label", postures=["short", name + "x"], sections=section),
    ]
    facts = snapshot(write_lines(lines))
    assert (facts.documents, facts.reasons) == (1, {"too_long": 2})
    assert [aside.detail for aside in read_set_aside(tmp_path / "snapshot")] == [
        "the id has 2,001 bytes, more than 2,000",
        "the label has 2,001 bytes, more than 2,000",
    ]


def test_blank_lines_are_no_records(write_lines: Any, read: Any) -> None:
    records, set_aside = read(write_lines([b"", b"  \t", opinion()]))
    assert ([record.number for record in records], set_aside) == ([3], [])


def test_documents_under_ten_words_and_without_any_are_told_apart(
    write_lines: Any, snapshot: Any, tmp_path: Path, words: str
) -> None:
    nine = " ".join(words.split()[:9])
    rows = [
        {"id": "none", "text": " \u0007 \n\n\u200b".replace("\u200b", "\u00a0")},
        {"id": "nine", "text": nine},
        {"id": "ten", "text": f"{nine} tenth"},
    ]
    facts = snapshot(write_lines(rows))
    assert facts.reasons == {"missing_text": 1, "too_short": 1}
    assert [document.document_id for document in read_documents(tmp_path / "snapshot")] == ["ten"]


def test_headings_count_towards_the_ten_words(write_lines: Any, snapshot: Any, words: str) -> None:
    sections = [{"headtext": words, "paragraphs": []}]
    assert snapshot(write_lines([opinion(sections=sections)])).documents == 1


def test_the_first_of_several_equal_ids_stays_and_equal_texts_are_counted(
    write_lines: Any, snapshot: Any, tmp_path: Path, words: str
) -> None:
    rows = [
        {"id": "a", "text": words},
        {"id": "b", "text": words},
        {"id": " a ", "text": f"{words} again"},
        {"id": "c", "text": "short"},
        {"id": "c", "text": f"{words} at last"},
    ]
    facts = snapshot(write_lines(rows))
    folder = tmp_path / "snapshot"
    assert (facts.records_read, facts.documents, facts.set_aside, facts.exact_duplicates) == (5, 3, 2, 1)
    assert [document.document_id for document in read_documents(folder)] == ["a", "b", "c"]
    repeated = [aside for aside in read_set_aside(folder) if aside.reason is SetAsideReason.REPEATED_ID]
    assert [(aside.document_id, aside.number) for aside in repeated] == [("a", 3)]
