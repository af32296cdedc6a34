"""The charts of a training speak of whole epochs, of one as of many."""

from collections.abc import Mapping

import pytest

from postq.reports.charts.course import course_charts
from postq.reports.content import Course
from tests.unit.reports.page_reader import read_page


def epoch(number: int) -> Mapping[str, float]:
    losses = {"train_loss_unweighted": 0.6 / number, "val_loss_unweighted": 0.5 / number}
    return {"epoch": float(number), **losses, "val_map": 0.3 * number, "learning_rate": 1e-5}


@pytest.mark.parametrize(
    ("epochs", "losses", "ticks"),
    [
        (1, "training loss was 0.600 after the only epoch", ["1"]),
        (2, "training loss went from 0.600 to 0.300", ["1", "2"]),
    ],
)
def test_an_axis_of_epochs_has_whole_numbers_only(epochs: int, losses: str, ticks: list[str]) -> None:
    course = Course(epochs=tuple(epoch(number) for number in range(1, epochs + 1)), best_epoch=1)
    chart = next(course_charts(course, name="c"))
    assert losses in chart.description
    texts = read_page(chart.svg).texts
    assert set(ticks) < set(texts)
    assert [text for text in texts if text.startswith(("0.9", "1."))] == []
