"""A snapshot is written whole or not at all, and read by row range, view and key."""

import os
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from postq.corpus import snapshot_writer
from postq.corpus.records import RawRecord, Section, SetAside, SetAsideReason
from postq.corpus.snapshot import (
    DOCUMENTS_FILE,
    FACTS_FILE,
    SET_ASIDE_FILE,
    read_documents,
    read_facts,
    read_keys,
    read_set_aside,
    verify_snapshot,
    write_snapshot,
)
from postq.errors import Conflict, CorpusUnreadable, DigestMismatch, StorageUnavailable

CREATED = datetime(2026, 1, 2, tzinfo=UTC)
TEN = "one two three four five six seven eight nine ten"


def record(number: int, *, text: str = TEN, **fields: Any) -> RawRecord:
    section = Section(heading=f"Heading {number}", paragraphs=(f"{text} {number}",))
    made = {"source": "s.jsonl", "number": number, "document_id": f"d{number}", "sections": (section,)}
    return RawRecord(**made | fields)


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row groups of four documents."""
    monkeypatch.setattr(snapshot_writer, "GROUP_DOCUMENTS", 4)


@pytest.fixture
def folder(tmp_path: Path, small_groups: None) -> Path:
    """A snapshot of ten documents in three row groups, one record set aside."""
    records: list[RawRecord | SetAside] = [
        record(n, labels=("even",) if n % 2 == 0 else (), split="test" if n == 9 else None) for n in range(10)
    ]
    aside = SetAside(source="s", number=3, reason=SetAsideReason.BAD_RECORD, detail="é", document_id="\ud800")
    write_snapshot([*records, aside], tmp_path / "snapshot", sources=["s.jsonl"], created=CREATED)
    return tmp_path / "snapshot"


def test_facts_say_what_the_snapshot_holds(folder: Path) -> None:
    facts = read_facts(folder)
    assert (facts.records_read, facts.documents, facts.set_aside) == (11, 10, 1)
    assert (facts.reasons, facts.label_counts, facts.splits) == ({"bad_record": 1}, {"even": 5}, {"test": 1})
    assert (facts.labelled_documents, facts.exact_duplicates, facts.created) == (5, 0, CREATED)
    assert (facts.words.total, facts.words.median, facts.words.longest) == (130, 13, 13)
    verify_snapshot(folder)
    verify_snapshot(folder, digest=facts.digest)


def test_records_set_aside_are_listed(folder: Path) -> None:
    (aside,) = read_set_aside(folder)
    assert (aside.reason, aside.number, aside.detail) == (SetAsideReason.BAD_RECORD, 3, "é")


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 10), (0, 1), (3, 5), (4, 8), (9, 10), (9, 99), (5, 5), (10, 12)]
)
def test_a_row_range_gives_just_those_rows(folder: Path, start: int, stop: int) -> None:
    documents = list(read_documents(folder, start_row=start, stop_row=stop))
    assert [document.row for document in documents] == list(range(start, min(stop, 10)))
    assert [document.document_id for document in documents] == [f"d{document.row}" for document in documents]


def test_chosen_rows_are_read_in_order_and_only_inside_the_range(folder: Path) -> None:
    chosen = list(read_documents(folder, start_row=2, stop_row=9, rows=[9, 8, 2, 0, 5, 5]))
    assert [document.row for document in chosen] == [2, 5, 8]
    assert list(read_documents(folder, rows=[])) == []


def test_a_row_range_touches_only_the_row_groups_it_lies_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched: list[int] = []
    read_group = pq.ParquetFile.read_row_group

    def counting(self: Any, group: int, **options: Any) -> Any:
        touched.append(group)
        return read_group(self, group, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counting)
    list(read_documents(folder, start_row=4, stop_row=7))
    list(read_documents(folder, rows=[0, 9]))
    assert touched == [1, 0, 2]


def test_both_views_and_no_text_at_all_can_be_asked_for(folder: Path) -> None:
    (whole,) = read_documents(folder, rows=[4])
    (paragraphs,) = read_documents(folder, rows=[4], view="paragraphs")
    (bare,) = read_documents(folder, rows=[4], with_text=False)
    assert (whole.text, paragraphs.text, bare.text) == (f"Heading 4\n\n{TEN} 4", f"{TEN} 4", "")
    assert whole.content_hash == paragraphs.content_hash == bare.content_hash
    assert (bare.labels, bare.word_count) == (("even",), 13)


def test_keys_are_those_of_the_documents(folder: Path) -> None:
    keys, documents = read_keys(folder), list(read_documents(folder))
    assert keys.document_ids == [document.document_id for document in documents]
    assert keys.content_hashes == [document.content_hash for document in documents]
    assert keys.labels == [document.labels for document in documents]
    assert keys.splits == [None] * 9 + ["test"]
    assert keys.word_counts.tolist() == [document.word_count for document in documents]


def test_much_text_ends_a_row_group_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_writer, "GROUP_CHARACTERS", 1000)
    records = [record(n, text="ten words " * 40) for n in range(6)]
    write_snapshot(records, tmp_path / "snapshot", sources=[], created=CREATED)
    metadata = pq.ParquetFile(tmp_path / "snapshot" / DOCUMENTS_FILE).metadata
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [3, 3]


def test_the_same_records_give_the_same_digest(tmp_path: Path) -> None:
    digests = [
        write_snapshot([record(1), record(2)], tmp_path / name, sources=[], created=CREATED).digest
        for name in ("a", "b")
    ]
    assert digests[0] == digests[1]


def test_a_failure_midway_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Any:
        yield record(1)
        raise CorpusUnreadable("It is cut off.", hint="Copy it again.")

    with pytest.raises(CorpusUnreadable):
        write_snapshot(failing(), tmp_path / "snapshot", sources=[], created=CREATED)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> Any:
        yield record(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_snapshot(interrupted(), tmp_path / "snapshot", sources=[], created=CREATED)
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_is_never_written_over(folder: Path) -> None:
    with pytest.raises(Conflict):
        write_snapshot([record(1)], folder, sources=[], created=CREATED)
    verify_snapshot(folder)


def test_a_place_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnavailable, match="cannot be written"):
        write_snapshot([record(1)], tmp_path / "file" / "snapshot", sources=[], created=CREATED)


FULL_DISK = """
import resource, sys
from pathlib import Path
from tests.unit.corpus.test_snapshot import CREATED, record
from postq.corpus.snapshot import write_snapshot
from postq.errors import StorageUnavailable
import os
noise = lambda n: " ".join(os.urandom(6).hex() for _ in range(2000))
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
try:
    records = (record(n, text=noise(n)) for n in range(600))
    write_snapshot(records, Path(sys.argv[1]), sources=[], created=CREATED)
except StorageUnavailable as error:
    print(error.message)
"""


def test_a_disk_that_fills_up_is_reported_and_leaves_nothing(tmp_path: Path, repository: Path) -> None:
    # A limit on the size of files stands in for a full disk: the write itself fails, midway.
    assert hasattr(resource, "RLIMIT_FSIZE")
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "snapshot")]
    done = subprocess.run(
        command, cwd=repository, env=os.environ, capture_output=True, text=True, check=False
    )
    assert "cannot be written" in done.stdout, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "read", [read_facts, read_keys, verify_snapshot, lambda at: list(read_documents(at))]
)
def test_a_missing_snapshot_is_reported(read: Any, tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="not on this machine"):
        read(tmp_path / "absent")


def test_a_missing_list_of_set_aside_records_is_reported(folder: Path) -> None:
    (folder / SET_ASIDE_FILE).unlink()
    with pytest.raises(StorageUnavailable):
        list(read_set_aside(folder))


def test_damage_is_found_by_the_digest_and_by_reading(folder: Path) -> None:
    file = folder / DOCUMENTS_FILE
    whole = file.read_bytes()
    file.write_bytes(whole[:200] + b"damage" + whole[206:])
    with pytest.raises(DigestMismatch):
        verify_snapshot(folder)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DigestMismatch):
        read_keys(folder)


def test_damaged_facts_are_reported(folder: Path) -> None:
    (folder / FACTS_FILE).write_text("{}", encoding="utf-8")
    with pytest.raises(DigestMismatch):
        read_facts(folder)


def test_progress_is_told_at_the_end_and_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_writer, "PROGRESS_RECORDS", 4)
    told: list[int] = []
    write_snapshot(
        (record(n) for n in range(10)),
        tmp_path / "snapshot",
        sources=[],
        created=CREATED,
        progress=lambda done, meter: told.append(done),
    )
    assert told == [4, 8, 10]
