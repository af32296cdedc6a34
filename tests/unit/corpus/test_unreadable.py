"""Files that are cut off, binary, empty or useless: one error each, and nothing half-written."""

import errno
import gzip
import json
import os
from pathlib import Path
from typing import Any

import fsspec
import pytest
import zstandard

from postq.corpus.location import Input
from postq.corpus.source import SourceForm, read_source
from postq.errors import BadInput, CorpusUnreadable, ExtraMissing

GOOD = b"".join(
    json.dumps({"id": str(n), "text": f"word{n} " * 12 + os.urandom(40).hex()}).encode() + b"\n"
    for n in range(5000)
)


@pytest.fixture
def nothing_written(tmp_path: Path) -> Any:
    """Checks that no snapshot, whole or unfinished, lies in the test's folder."""

    def check() -> None:
        assert [path.name for path in tmp_path.iterdir() if "snapshot" in path.name] == []

    return check


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("zst", zstandard.compress)])
@pytest.mark.parametrize("cut", [1, 9, 50_000])
def test_a_cut_off_compressed_file_is_an_error_even_after_thousands_of_good_documents(
    suffix: str, compress: Any, cut: int, tmp_path: Path, snapshot: Any, nothing_written: Any
) -> None:
    file = tmp_path / f"rows.jsonl.{suffix}"
    file.write_bytes(compress(GOOD)[:-cut])
    with pytest.raises(CorpusUnreadable, match="cut off") as caught:
        snapshot(file)
    assert "unpack it by hand" in caught.value.hint
    nothing_written()


def test_a_gzip_file_with_a_wrong_checksum_is_an_error(tmp_path: Path, snapshot: Any) -> None:
    packed = bytearray(gzip.compress(GOOD))
    packed[-6] ^= 0xFF
    (tmp_path / "rows.jsonl.gz").write_bytes(packed)
    with pytest.raises(CorpusUnreadable, match="cannot be read to its end"):
        snapshot(tmp_path / "rows.jsonl.gz")


@pytest.mark.parametrize(
    ("name", "data", "hint"),
    [
        ("rows.jsonl", gzip.compress(b"{}", mtime=0), "name it .gz"),
        ("rows.jsonl", zstandard.compress(b"{}"), "name it .zst"),
        ("rows.jsonl", b"PK\x03\x04 and so on", "unpack it first"),
        ("rows.csv", b"%PDF-1.7 and so on", "PDF"),
        ("rows.csv", "id,text\n1,words".encode("utf-16"), "convert it to UTF-8"),
        ("rows.jsonl", b"{}\n\x00\x01\x02", "Give UTF-8 text"),
        ("rows.jsonl", b"PAR1 and so on", "name it .parquet"),
        ("rows.jsonl.gz", gzip.compress(b"\x7fELF\x00\x00", mtime=0), "Give UTF-8 text"),
    ],
)
def test_a_binary_file_is_told_apart_from_text(
    name: str, data: bytes, hint: str, tmp_path: Path, snapshot: Any, nothing_written: Any
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CorpusUnreadable, match="binary file") as caught:
        snapshot(tmp_path / name)
    assert hint in caught.value.hint
    nothing_written()


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv", "rows.parquet", "rows.jsonl.gz", "empty.txt"])
def test_an_empty_file_is_an_error(name: str, tmp_path: Path, snapshot: Any, nothing_written: Any) -> None:
    (tmp_path / name).touch()
    with pytest.raises(CorpusUnreadable):
        snapshot(tmp_path / name)
    nothing_written()


@pytest.mark.parametrize("data", [b"not parquet", b"PAR1 damaged PAR1"])
def test_damaged_parquet_is_an_error(data: bytes, tmp_path: Path, read: Any) -> None:
    (tmp_path / "rows.parquet").write_bytes(data)
    with pytest.raises(CorpusUnreadable, match="not a sound Parquet file"):
        read(tmp_path / "rows.parquet")


def test_a_folder_without_text_files_is_an_error(tmp_path: Path, read: Any) -> None:
    (tmp_path / "rows.jsonl").touch()
    with pytest.raises(CorpusUnreadable, match=r"no \.txt file"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["rows.data", "rows.json", "opinions.jsonl"])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("key", ["id", "documentId"])
def test_a_json_list_is_recognised(
    name: str, indent: int | None, key: str, tmp_path: Path, read: Any
) -> None:
    (tmp_path / name).write_text(json.dumps([{key: "1", "text": "words"}], indent=indent))
    with pytest.raises(CorpusUnreadable, match="one JSON list") as caught:
        read(tmp_path / name)
    assert "one object per line" in caught.value.hint


def test_a_corpus_without_one_usable_document_names_the_commonest_reason(
    write_lines: Any, snapshot: Any, nothing_written: Any
) -> None:
    with pytest.raises(CorpusUnreadable, match=r"no usable document in 3 records; .* too_short \(2\)"):
        snapshot(write_lines([{"id": "1", "text": "few"}, {"id": "2", "text": "few"}, b"{"]))
    nothing_written()


@pytest.mark.parametrize(
    ("line", "says", "hint"),
    [
        (
            {"key": "1", "body": "t"},
            r"\(2\), as record 1 of .*: no 'id' among 'key', 'body'\.$",
            "--id-column",
        ),
        ({"id": "1", "body": "t"}, r"no 'text' among 'id', 'body'\.$", "--text-column"),
        ({"documentId": "1", "text": "t"}, r"no 'sections' among 'documentId', 'text'\.$", "--form jsonl"),
        ({"id": "1", "\x1b[31m" + "x" * 40: "t"}, r"no 'text' among 'id', '\[31mx{26}'\.$", "--text-column"),
        ({}, r"the object is empty\.$", "--id-column"),
        ({"id": "1", "text": {}}, r"'text' is an object, not a string\.$", "corpus validate"),
        ('{"id": "1", "text": "Größe"}'.encode("latin-1"), "is not UTF-8", "iconv"),
    ],
)
def test_a_corpus_without_one_usable_document_shows_what_its_first_record_lacks(
    line: Any, says: str, hint: str, write_lines: Any, snapshot: Any
) -> None:
    with pytest.raises(CorpusUnreadable, match=says) as caught:
        snapshot(write_lines([line, line]))
    assert hint in caught.value.hint


def test_a_csv_file_without_a_header_is_an_error(tmp_path: Path, read: Any) -> None:
    (tmp_path / "rows.csv").write_text("\n\n", encoding="utf-8")
    with pytest.raises(CorpusUnreadable, match="no CSV header"):
        read(tmp_path / "rows.csv")


@pytest.mark.parametrize(
    "path", ["absent.jsonl", "memory://absent/file.jsonl", "bad\0name", "~nobody-here/x"]
)
def test_a_missing_file_is_an_error_that_names_it(path: str, read: Any) -> None:
    with pytest.raises(CorpusUnreadable, match="There is no file"):
        read(path)


def test_the_second_of_two_inputs_is_missed_before_the_first_is_read(write_lines: Any) -> None:
    inputs = [Input(path=str(write_lines([b"{"]))), Input(path="absent.jsonl")]
    with pytest.raises(CorpusUnreadable, match=r"absent\.jsonl"):
        next(read_source(inputs))


def test_no_input_at_all_is_refused() -> None:
    with pytest.raises(BadInput):
        next(read_source([]))


def test_a_driver_that_is_not_installed_is_named(read: Any) -> None:
    if "s3fs" in {spec.get("class", "").partition(".")[0] for spec in installed_drivers()}:
        pytest.skip("the s3 driver is installed here")
    with pytest.raises(ExtraMissing, match="needs a driver") as caught:
        read("s3://bucket/rows.jsonl")
    assert "s3fs" in caught.value.hint


def installed_drivers() -> list[dict[str, str]]:
    """The registry entries of drivers that can be imported."""
    found = []
    for name in ("s3",):
        try:
            fsspec.get_filesystem_class(name)
        except ImportError:
            continue
        found.append(fsspec.registry.known_implementations[name])
    return found


def test_an_unknown_scheme_is_refused_without_showing_credentials(read: Any) -> None:
    with pytest.raises(BadInput) as caught:
        read("nosuch://user:secret@host/rows.jsonl")
    assert "secret" not in caught.value.message


def test_a_remote_driver_that_fails_is_reported_in_one_sentence(
    read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> bool:
        raise RuntimeError("connection reset\nand a long story")

    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "exists", fail)
    with pytest.raises(CorpusUnreadable, match=r"cannot be reached: connection reset\.$"):
        read("memory://host/rows.jsonl")


def test_an_unreadable_file_is_an_error(write_lines: Any, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_lines([b"{}"])

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CorpusUnreadable, match="cannot be opened"):
        read(file, form=SourceForm.JSONL)


def test_a_folder_that_may_not_be_read_is_not_taken_for_a_full_disk(
    tmp_path: Path, snapshot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "texts").mkdir()

    def refuse(_: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("postq.corpus.text_files.os.scandir", refuse)
    with pytest.raises(CorpusUnreadable, match=r"The folder '.*texts' cannot be read: Permission denied"):
        snapshot(tmp_path / "texts")
