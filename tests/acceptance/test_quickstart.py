"""The quickstart is a transcript: every command runs, and prints what the page says it prints."""

from pathlib import Path

import pytest

from tests.acceptance.transcript import BLOCK, commands, played, shape

PAGE = Path(__file__).resolve().parents[2] / "docs" / "quickstart.md"


@pytest.mark.slow
def test_the_quickstart_prints_what_it_says(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len([command for block in BLOCK.findall(text) for command in commands(block)]) >= 10
    assert shape(played(text, folder=tmp_path)) == shape(text), (
        "python -m tests.acceptance.transcript docs/quickstart.md writes the page anew"
    )


def test_the_comparison_sees_words_and_not_figures() -> None:
    assert shape("took 13 s, 0.91") == shape("took 2.9 s,  0.875")
    assert shape("1 succeeded") != shape("1 failed")
