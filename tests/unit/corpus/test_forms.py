"""Every form a corpus may come in gives the same records."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from postq.corpus.fields import Columns
from postq.corpus.location import Input, parse_split_input
from postq.corpus.records import RawRecord, Section, SetAsideReason
from postq.corpus.source import SourceForm, read_source
from postq.corpus.streams import Meter
from postq.errors import BadInput, CorpusUnreadable

ROWS: list[dict[str, Any]] = [
    {
        "id": "a-1",
        "text": "First paragraph.\n\nSecond paragraph,\nstill the second.",
        "labels": ["tax", "appeal"],
    },
    {"id": "a-2", "text": "Großes Verfahren – naïve façade", "labels": []},
]


def test_the_source_form_keeps_sections_headings_and_postures(write_lines: Any, read: Any) -> None:
    opinion = {
        "documentId": "I1",
        "postures": ["On Appeal"],
        "sections": [{"headtext": "FACTS", "paragraphs": ["One.", "Two."]}, {"paragraphs": ["Three."]}],
    }
    (record,), set_aside = read(write_lines([opinion]))
    assert set_aside == []
    assert (record.document_id, record.labels, record.number) == ("I1", ("On Appeal",), 1)
    assert record.sections == (
        Section(heading="FACTS", paragraphs=("One.", "Two.")),
        Section(heading=None, paragraphs=("Three.",)),
    )


def write_csv(file: Path, *, labels: Any) -> Path:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter="\t" if file.suffix == ".tsv" else ",")
        writer.writerow(["id", "text", "labels"])
        writer.writerows([row["id"], row["text"], labels(row["labels"])] for row in ROWS)
    return file


def write_form(folder: Path, form: str) -> Path:
    file = folder / f"rows.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), file)
    elif form in ("csv", "tsv"):
        write_csv(file, labels=";".join)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return file


@pytest.mark.parametrize("form", ["jsonl", "csv", "tsv", "parquet"])
def test_each_generic_form_gives_the_same_records(form: str, tmp_path: Path, read: Any) -> None:
    records, set_aside = read(write_form(tmp_path, form))
    assert set_aside == []
    assert [record.document_id for record in records] == ["a-1", "a-2"]
    assert [record.sections[0].paragraphs for record in records] == [
        ("First paragraph.", "Second paragraph,\nstill the second."),
        ("Großes Verfahren – naïve façade",),
    ]
    assert [[label for label in record.labels if label] for record in records] == [["tax", "appeal"], []]


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL], ids=["bare", "quoted"])
@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_csv_file_tells_its_separator_by_its_header(
    separator: str, quoting: Any, tmp_path: Path, read: Any
) -> None:
    rows = [["id", "text", "labels"], ["a", f"one, two{separator} three", "tax;appeal"], ["b", "four", ""]]
    with (tmp_path / "rows.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, delimiter=separator, quoting=quoting).writerows(rows)
    (first, second), set_aside = read(tmp_path / "rows.csv")
    assert (set_aside, first.number, second.document_id) == ([], 2, "b")
    assert first.sections[0].paragraphs == (f"one, two{separator} three",)
    assert first.labels == ("tax", "appeal")


def test_columns_and_the_label_delimiter_can_be_named(write_lines: Any, read: Any) -> None:
    columns = Columns(text="body", id="key", labels="topics", split="part", delimiter="|")
    row = {"key": 7, "body": "words", "topics": "a|b", "part": "dev"}
    (record,), _ = read(write_lines([row]), columns=columns)
    assert record == RawRecord(
        source=record.source,
        number=1,
        document_id="7",
        sections=(Section(heading=None, paragraphs=("words",)),),
        labels=("a", "b"),
        split="validation",
    )


@pytest.mark.parametrize("labels", ['["x; y", "z"]', ["x; y", "z"]])
def test_labels_may_be_a_json_list_even_inside_a_string(labels: Any, write_lines: Any, read: Any) -> None:
    (record,), _ = read(write_lines([{"id": "1", "text": "t", "labels": labels}]))
    assert record.labels == ("x; y", "z")


def test_a_label_that_only_looks_like_a_list_stays_a_label(write_lines: Any, read: Any) -> None:
    (record,), _ = read(write_lines([{"id": "1", "text": "t", "labels": "[sealed]; tax"}]))
    assert record.labels == ("[sealed]", " tax")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_missing_column_is_named_with_those_that_are_there(form: str, tmp_path: Path, read: Any) -> None:
    file = write_form(tmp_path, form)
    with pytest.raises(CorpusUnreadable, match="no column 'body'") as caught:
        read(file, columns=Columns(text="body"))
    assert "id, text, labels" in caught.value.hint


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_column_that_is_there_twice_is_refused_and_neither_s_labels_are_lost(
    form: str, tmp_path: Path, read: Any
) -> None:
    names, row = ["id", "text", "labels", "labels", "note", "note"], ["1", "words", "tax", "appeal", "", ""]
    if form == "csv":
        (tmp_path / "rows.csv").write_text(f"{','.join(names)}\n{','.join(row)}\n", encoding="utf-8")
    else:
        table = pa.Table.from_arrays([pa.array([cell]) for cell in row], names=names)
        pq.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(CorpusUnreadable, match="more than one column 'labels'\\."):
        read(tmp_path / f"rows.{form}")


def test_an_empty_delimiter_between_labels_is_refused() -> None:
    with pytest.raises(BadInput, match="separates nothing"):
        Columns(delimiter="")


def test_a_corpus_without_a_labels_column_is_unlabelled_but_a_named_one_must_exist(
    tmp_path: Path, read: Any
) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("id,text\n1,words\n", encoding="utf-8")
    (record,), _ = read(file)
    assert record.labels == ()
    with pytest.raises(CorpusUnreadable, match="no column 'topics'"):
        read(file, columns=Columns(labels="topics"))


def test_text_files_are_read_recursively_in_order_with_their_path_as_id(tmp_path: Path, read: Any) -> None:
    for name in ("b.txt", "a/z.txt", "a/y.TXT", "a.txt", "skip.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"text of\n\n{name}", encoding="utf-8")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"packed"))
    records, _ = read(tmp_path)
    assert [record.document_id for record in records] == [
        "a.txt",
        "a/y.TXT",
        "a/z.txt",
        "b.txt",
        "c.txt.gz",
    ]
    assert records[0].sections[0].paragraphs == ("text of", "a.txt")
    assert [record.number for record in records] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("zst", zstandard.compress)])
def test_compression_goes_by_the_suffix(suffix: str, compress: Any, tmp_path: Path, read: Any) -> None:
    file = tmp_path / f"rows.jsonl.{suffix}"
    lines = [json.dumps(row).encode() + b"\n" for row in ROWS]
    file.write_bytes(compress(lines[0]) + compress(lines[1]))  # several members in one file are one stream
    records, _ = read(file)
    assert [record.document_id for record in records] == ["a-1", "a-2"]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet", "rows.csv"])
def test_urls_are_read_through_fsspec(name: str, tmp_path: Path, read: Any) -> None:
    data = write_form(tmp_path, name.rpartition(".")[2]).read_bytes()
    with fsspec.open(f"memory://corpora/{tmp_path.name}/{name}", "wb") as stream:
        stream.write(data)
    for url in (f"memory://corpora/{tmp_path.name}/{name}", f"file://{tmp_path / name}"):
        records, _ = read(url)
        assert [record.document_id for record in records] == ["a-1", "a-2"]


def test_a_folder_of_text_files_may_be_remote(tmp_path: Path, read: Any) -> None:
    for name in ("b.txt", "a/c.txt"):
        with fsspec.open(f"memory://texts/{tmp_path.name}/{name}", "wb") as stream:
            stream.write(b"some words")
    records, _ = read(f"memory://texts/{tmp_path.name}")
    assert [record.document_id for record in records] == ["a/c.txt", "b.txt"]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path, read: Any) -> None:
    (tmp_path / "rows.csv").write_bytes(b'\xef\xbb\xbfid,text\r\n1,"two\r\nlines"\r\n')
    (tmp_path / "rows.jsonl").write_bytes(b'\xef\xbb\xbf{"id": "1", "text": "words"}\r\n\r\n')
    for name in ("rows.csv", "rows.jsonl"):
        (record,), set_aside = read(tmp_path / name)
        assert (record.document_id, set_aside) == ("1", [])


def test_a_file_may_carry_an_official_split_which_wins_over_its_column(write_lines: Any, read: Any) -> None:
    rows = [{"id": "1", "text": "t", "split": "test"}, {"id": "2", "text": "t"}]
    file = write_lines(rows)
    assert [record.split for record in read(file)[0]] == ["test", None]
    assert [record.split for record in read(file, split="train")[0]] == ["train", "train"]


@pytest.mark.parametrize("text", ["val=x=y.jsonl", "dev=x=y.jsonl", "validation=x=y.jsonl"])
def test_a_split_and_its_file_are_told_apart_at_the_first_equals_sign(text: str) -> None:
    assert parse_split_input(text) == Input(path="x=y.jsonl", split="validation")


@pytest.mark.parametrize("text", ["x.jsonl", "holdout=x.jsonl", "train="])
def test_a_split_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_split_input(text)


def test_an_explicit_form_wins_over_the_suffix(tmp_path: Path, read: Any) -> None:
    file = tmp_path / "rows.txt"
    file.write_text('{"id": "1", "text": "words"}\n', encoding="utf-8")
    assert read(file)[0][0].document_id == "rows.txt"
    assert read(file, form=SourceForm.JSONL)[0][0].document_id == "1"


def test_a_form_that_cannot_be_told_is_asked_for(tmp_path: Path, read: Any) -> None:
    (tmp_path / "notes.dat").write_text("once upon a time\n", encoding="utf-8")
    with pytest.raises(CorpusUnreadable) as caught:
        read(tmp_path / "notes.dat")
    assert "Give the form" in caught.value.hint


def test_the_word_sections_inside_a_text_does_not_make_it_the_source_form(
    write_lines: Any, read: Any
) -> None:
    (record,), _ = read(write_lines([{"id": "1", "text": 'see "sections": below'}]))
    assert record.document_id == "1"


def test_several_inputs_are_read_in_order_and_their_forms_remembered(
    write_lines: Any, tmp_path: Path
) -> None:
    opinion = {"documentId": "s", "postures": [], "sections": [{"headtext": "x", "paragraphs": []}]}
    inputs = [
        Input(path=str(write_lines([opinion], "one.jsonl"))),
        Input(path=str(write_csv(tmp_path / "two.csv", labels=json.dumps)), split="test"),
    ]
    meter = Meter()
    items = [item for item in read_source(inputs, meter=meter) if isinstance(item, RawRecord)]
    assert [(item.document_id, item.split) for item in items] == [
        ("s", None),
        ("a-1", "test"),
        ("a-2", "test"),
    ]
    assert meter.forms == {"source", "csv"}
    assert meter.bytes_done == meter.bytes_total == sum(Path(each.path).stat().st_size for each in inputs)


def test_reasons_have_distinct_names() -> None:
    assert len({str(reason) for reason in SetAsideReason}) == len(SetAsideReason)
