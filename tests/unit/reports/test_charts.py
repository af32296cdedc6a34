"""Words in a chart lie over neither its axes nor its lines."""

from typing import Any

import numpy as np
import pytest

from postq.reports.charts import reliability, thresholds
from postq.reports.content import Calibration, Sweep

CUTS = np.linspace(0, 1, 11)


def figure_of(chart: Any, module: Any, content: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The figure as drawn, before it becomes a picture."""
    monkeypatch.setattr(module, "finish", lambda figure, **_: figure)
    figure = chart(content, name="x")
    figure.draw_without_rendering()
    return figure


@pytest.mark.parametrize("at", [0.0, 0.02, 0.12, 0.3, 0.49, 0.5, 0.7, 0.8, 0.98, 1.0])
def test_the_marks_of_a_sweep_stay_inside_and_apart(at: float, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = Sweep(
        thresholds=tuple(CUTS),
        micro=tuple(CUTS),
        macro=tuple(CUTS),
        global_threshold=at,
        default_micro=0.5,
        default_macro=0.4,
    )
    (axes,) = figure_of(thresholds.sweep_chart, thresholds, sweep, monkeypatch).axes
    inside = axes.get_window_extent()
    half, chosen = (text.get_window_extent() for text in axes.texts)
    for box in (half, chosen):
        assert inside.x0 <= box.x0
        assert box.x1 <= inside.x1
    assert half.x1 < chosen.x0 or chosen.x1 < half.x0


def test_the_legend_of_a_calibration_lies_over_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    bins = [
        {"mean_score": at, "true_share": at, "from": at - 0.05, "to": at + 0.05, "count": 9} for at in CUTS
    ]
    content = Calibration(bins=bins, ece=0.1, brier=0.1)
    figure = figure_of(reliability.calibration_chart, reliability, content, monkeypatch)
    (legend,) = figure.legends
    assert all(axes.get_legend() is None for axes in figure.axes)
    assert not any(legend.get_window_extent().overlaps(axes.get_window_extent()) for axes in figure.axes)
