"""A page is written whole or not at all, and drawing is an extra."""

import sys
from pathlib import Path

import pytest

from postq.errors import ExtraMissing, StorageUnavailable
from postq.reports.extra import require_drawing
from postq.reports.writing import write_page


def test_a_page_replaces_the_one_before(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("before")
    write_page("after ✓", target)
    assert target.read_text(encoding="utf-8") == "after ✓"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("target", ["missing/page.html", "folder"])
def test_a_place_that_cannot_be_written_is_told_and_stays_as_it_was(tmp_path: Path, target: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageUnavailable, match="cannot be written"):
        write_page("page", tmp_path / target)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


def test_a_disk_that_fails_half_way_leaves_the_old_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "page.html"
    target.write_text("before")

    def refuse(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("postq.reports.writing.os.fsync", refuse)
    with pytest.raises(StorageUnavailable, match="No space left"):
        write_page("after", target)
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_without_the_extra_the_hint_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ExtraMissing, match="matplotlib") as caught:
        require_drawing()
    assert "postq[reports]" in caught.value.hint
