"""Documents agree with the code: generated parts, links and files they name."""

import re
from pathlib import Path

import pytest

from docs import generate, measurements
from postq.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "README.md"]


@pytest.mark.parametrize("block", generate.BLOCKS, ids=lambda block: f"{block.file}: {block.name}")
def test_the_generated_part_is_what_the_code_says_now(block: generate.Block) -> None:
    page = (ROOT / block.file).read_text(encoding="utf-8")
    assert block.written_into(page) == page, "`make docs` writes it anew"


def test_a_page_without_the_marks_is_an_error_and_not_passed_over() -> None:
    with pytest.raises(ValueError, match=r"README\.md has no place marked"):
        generate.BLOCKS[0].written_into("no marks here")


def test_the_measurements_are_what_the_benchmarks_recorded() -> None:
    assert measurements.PAGE.read_text(encoding="utf-8") == measurements.page(), "`make docs` writes it anew"


def test_every_recorded_row_is_shown_with_its_figures() -> None:
    shown = measurements.table([{"what": "a|b", "value": 12345.6, "none": None}, {"what": "c", "value": 1}])
    assert shown.splitlines() == ["| what | value |", "|---|---:|", "| a\\|b | 12,346 |", "| c | 1 |"]


def test_the_settings_table_has_a_meaning_for_every_setting() -> None:
    rows = dict(re.findall(r"^\| `POSTQ_(\w+)` \| .* \| (.*) \|$", generate.settings(), re.MULTILINE))
    assert list(rows) == [name.upper() for name in Settings.model_fields]
    assert all(rows.values())


def test_the_tree_has_a_sentence_for_every_room() -> None:
    for line in generate.tree().splitlines()[1:-1]:
        assert re.fullmatch(r" *\S+ +\S.*[.:]", line), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_within_the_checkout_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_test_file_a_page_names_is_there(page: Path) -> None:
    named = re.findall(r"`(tests/[\w/.]+)`", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []
