"""Quotes in CSV: cells over many lines are read; a quote that takes in the rows after it refuses the file."""

from pathlib import Path
from typing import Any

import pytest

from postq.corpus import csv_rows
from postq.errors import CorpusUnreadable


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows.csv"


def texts_of(records: list[Any]) -> list[str]:
    parts = ["\n\n".join(record.sections[0].paragraphs) for record in records]
    return [part.replace("\r\n", "\n") for part in parts]


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("end", ["", "\n"], ids=["open end", "last line ended"])
def test_quoted_cells_span_lines_and_hold_doubled_quotes(
    newline: str, end: str, file: Path, read: Any
) -> None:
    rows = [
        "id,text,labels",
        '1,"He said ""no"".',
        "",
        'And then: ""',
        '"" was all, 5"" long.","tax',
        'appeal"',
        '2,"""quoted from end to end""",tax',
        '"3","Held,',
        'that 2,""x"", is no row","a ""b"""',
    ]
    file.write_text(newline.join(rows) + (newline if end else ""), encoding="utf-8", newline="")
    (first, second, third), set_aside = read(file)
    assert set_aside == []
    assert texts_of([first]) == ['He said "no".\n\nAnd then: "\n" was all, 5" long.']
    assert [label.split() for label in first.labels] == [["tax", "appeal"]]
    assert texts_of([second, third]) == ['"quoted from end to end"', 'Held,\nthat 2,"x", is no row']
    assert (first.number, second.number, third.number) == (6, 7, 9)


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize(
    ("lines", "opened"),
    [
        (["id,text", "1,good", '2,"never closed', "3,good", "4,good"], 3),
        (["id,text", "1,good", '2,"'], 3),
        (["id,text", '1,"two', 'lines"', '2,"ends in a doubled quote""', "3,good"], 4),
        (["id,text,labels", '1,"two', 'lines","opens here', "2,good,tax"], 3),
        (["id,text,labels", '1,"a ""b"" c', 'd ""e"" f","""opens here', '2,5"",""'], 3),
        (['id,"text', "1,good"], 1),
    ],
)
def test_a_file_that_ends_inside_a_quote_is_refused_with_the_line_where_it_opens(
    newline: str, lines: list[str], opened: int, file: Path, read: Any
) -> None:
    for end in ("", newline):
        file.write_text(newline.join(lines) + end, encoding="utf-8", newline="")
        with pytest.raises(CorpusUnreadable, match=f"rows.csv' ends inside a quoted cell.* line {opened}\\."):
            read(file)


def test_a_quote_that_is_closed_by_one_of_a_later_row_refuses_the_file_too(file: Path, read: Any) -> None:
    rows = ["id,text", "1,good", '2,"never closed', *(f"{n},good" for n in range(3, 2000)), '2000,"quoted"']
    file.write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(CorpusUnreadable, match="is not CSV from line 3 to 2,001") as refused:
        read(file)
    assert "Close its quotes" in refused.value.hint


def test_a_quote_that_takes_in_more_than_a_record_may_have_refuses_the_file(
    file: Path, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_rows, "MAX_RECORD_BYTES", 1000)
    rows = ["id,text", '1,"never closed', *(f"{n},good" for n in range(2, 2000))]
    file.write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(CorpusUnreadable, match=r"from line 2 to .*field larger than field limit"):
        read(file)


def test_a_stray_quote_within_one_line_costs_that_row_alone(file: Path, read: Any) -> None:
    file.write_text('id,text\n1,"he said "no" and left"\n2,good\n', encoding="utf-8")
    (record,), (aside,) = read(file)
    assert (record.document_id, aside.reason, aside.number) == ("2", "bad_record", 2)


def test_lines_that_end_by_a_carriage_return_alone_are_no_header(file: Path, read: Any) -> None:
    file.write_bytes(b"id,text\r1,good\r")
    with pytest.raises(CorpusUnreadable, match="no CSV header"):
        read(file)
