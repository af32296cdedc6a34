"""Calibration: how often a score came true, over how many scores."""

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from postq.reports.charts.chart import Chart
from postq.reports.charts.style import FIRST, MUTED, finish, house_style
from postq.reports.content import Calibration
from postq.reports.estimate import decimal


def calibration_chart(calibration: Calibration, *, name: str) -> Chart:
    """Mean score of each bin against the share that is true; below, how many scores lie there."""
    bins = calibration.bins
    with house_style():
        figure = Figure(figsize=(4.7, 3.9), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--", label="as good as its word")
        scores = [one["mean_score"] for one in bins]
        shares = [one["true_share"] for one in bins]
        upper.plot(scores, shares, color=FIRST, marker="o", markersize=4.5, label="this model")
        upper.set(xlim=(0, 1), ylim=(0, 1.03), ylabel="share that is true")
        figure.legend(loc="outside lower center", ncols=2)
        middle = [(one["from"] + one["to"]) / 2 for one in bins]
        lower.bar(
            middle,
            [one["count"] for one in bins],
            width=[0.9 * (one["to"] - one["from"]) for one in bins],
            color=FIRST,
        )
        lower.set_yscale("log")
        lower.yaxis.set_major_locator(LogLocator(numticks=4))
        lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        lower.minorticks_off()
        lower.set(xlabel="score", ylabel="scores (log)")
        lower.grid(visible=False, axis="x")
        return finish(
            figure,
            name=name,
            title="Calibration",
            description=f"Expected calibration error {decimal(calibration.ece, digits=4)}, Brier score "
            f"{decimal(calibration.brier, digits=4)}. On the dashed line a score of 0.7 comes true in 70 %.",
        )
