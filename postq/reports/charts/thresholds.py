"""F1 over one threshold for all labels, with the thresholds in use marked."""

from matplotlib.axes import Axes

from postq.reports.charts.chart import Chart
from postq.reports.charts.style import FIRST, MUTED, SECOND, finish, house_style, new_figure
from postq.reports.content import Sweep
from postq.reports.estimate import decimal

LABEL_SHARE = 0.25
"""Of the axis, taken by a mark's words: nearer to an end than this they stand on the side of the middle."""


def sweep_chart(sweep: Sweep, *, name: str) -> Chart:
    """Micro- and macro-F1; dotted lines are the default thresholds."""
    with house_style():
        figure, axes = new_figure(size=(4.7, 3.9))
        axes.plot(sweep.thresholds, sweep.micro, color=FIRST, label="micro-F1")
        axes.plot(sweep.thresholds, sweep.macro, color=SECOND, label="macro-F1")
        for value, colour in ((sweep.default_micro, FIRST), (sweep.default_macro, SECOND)):
            if value is not None:
                axes.axhline(value, color=colour, linewidth=1.1, linestyle=":")
        axes.plot([], [], color=MUTED, linewidth=1.1, linestyle=":", label="default thresholds")
        axes.set(xlim=(0, 1), ylim=(0, 1.03), xlabel="one threshold for all labels", ylabel="F1")
        _mark(axes, 0.5, "0.5", left=sweep.global_threshold >= 0.5)
        _mark(
            axes,
            sweep.global_threshold,
            f"global {decimal(sweep.global_threshold, digits=2)}",
            left=LABEL_SHARE < sweep.global_threshold < 0.5 or sweep.global_threshold > 1 - LABEL_SHARE,
        )
        figure.legend(loc="outside lower center", ncols=3, handlelength=1.6, columnspacing=1.2)
        best = max(range(len(sweep.micro)), key=lambda at: sweep.micro[at])
        return finish(
            figure,
            name=name,
            title="One threshold for all labels",
            description=f"Micro-F1 is highest, {decimal(sweep.micro[best])}, at "
            f"{decimal(sweep.thresholds[best], digits=2)}; the global threshold is "
            f"{decimal(sweep.global_threshold, digits=2)}; the default thresholds give "
            f"micro {decimal(sweep.default_micro)} and macro {decimal(sweep.default_macro)}.",
        )


def _mark(axes: Axes, at: float, text: str, *, left: bool) -> None:
    if not 0 <= at <= 1:
        return
    axes.axvline(at, color=MUTED, linewidth=1, linestyle="--")
    axes.annotate(
        text,
        (at, 0.02),
        xytext=(-4 if left else 4, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        color=MUTED,
        fontsize=8.5,
    )
