"""Listings in files hold what the table and JSON show, whole or not at all."""

import csv
import json
from pathlib import Path

import pytest

from postq.cli.predictions.review import LISTING
from postq.cli.printing.listing_file import form_of, write_listing
from postq.errors import BadInput, StorageUnavailable
from postq.learning.review import Reason
from postq.predictions.review import ReviewItem

REASONS = (
    Reason(kind="near", weight=0.5, sentence="a score lies near its threshold"),
    Reason(kind="nothing", weight=0.25, sentence="no label is predicted"),
)
LABELS = (("On Appeal", 0.5), ("Mötion", 0.25))
ITEMS = [
    ReviewItem(
        rank=1,
        document_id="op-7",
        row=6,
        need=0.75,
        reasons=REASONS,
        labels=(("On Appeal", 0.5), ("Mötion", 0.25)),
    ),
    ReviewItem(rank=2, document_id="op-2", row=1, need=0.5, reasons=REASONS[:1], labels=()),
]


def test_json_lines_are_the_objects_of_the_json_output(tmp_path: Path) -> None:
    write_listing(LISTING, ITEMS, tmp_path / "queue.jsonl", form="jsonl")
    lines = (tmp_path / "queue.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [LISTING.as_dict(one) for one in ITEMS]
    assert "Mötion" in lines[0]


def test_csv_has_the_same_keys_and_says_lists_in_words(tmp_path: Path) -> None:
    write_listing(LISTING, ITEMS, tmp_path / "queue.csv", form="csv")
    with (tmp_path / "queue.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == LISTING.keys
    assert [row["document"] for row in rows] == ["op-7", "op-2"]
    assert rows[0]["reasons"] == "a score lies near its threshold; no label is predicted"
    assert rows[0]["labels"] == "On Appeal=0.5; Mötion=0.25"


def test_a_folder_that_is_missing_is_told_and_nothing_half_written_stays(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable):
        write_listing(LISTING, ITEMS, tmp_path / "missing" / "queue.csv", form="csv")
    write_listing(LISTING, ITEMS, tmp_path / "queue.csv", form="csv")
    assert [path.name for path in tmp_path.iterdir()] == ["queue.csv"]


def test_the_form_is_told_from_the_suffix() -> None:
    assert [form_of(Path(name)) for name in ("a.jsonl", "a.NDJSON", "a.csv")] == ["jsonl", "jsonl", "csv"]
    assert form_of(None) is None
    with pytest.raises(BadInput, match="cannot be told from its suffix"):
        form_of(Path("queue.xlsx"))
