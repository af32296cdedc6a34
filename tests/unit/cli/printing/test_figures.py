"""The figures of a model on the screen, wide or narrow, with none of them cut."""

from collections.abc import Callable

import pytest

from postq.cli.printing.figures import Figures, FiguresTable

Print = Callable[..., str]
FOUND = [
    Figures(
        model="baseline",
        on=on,
        f1={"half": (0.935, 0.338), "global": (0.95, 0.386), "default": (0.938, 0.392)},
        mean_average_precision=0.882,
    )
    for on in ("test", "validation")
]


def test_on_a_wide_terminal_each_cut_is_a_column(printed: Print) -> None:
    lines = printed(FiguresTable(FOUND), width=80).splitlines()
    assert len(lines) == 3
    assert lines[1].split() == ["baseline", "test", "0.935/0.338", "0.950/0.386", "0.938/0.392", "0.882"]


@pytest.mark.parametrize("width", [56, 60, 70])
def test_on_a_narrow_terminal_each_cut_is_a_line(width: int, printed: Print) -> None:
    lines = printed(FiguresTable(FOUND), width=width).splitlines()
    assert max(map(len, lines)) <= width
    assert lines[1].split() == ["baseline", "test", "at", "0.5", "0.935/0.338"]
    assert lines[4].split() == ["mAP", "0.882"]
    assert "…" not in "".join(lines)
