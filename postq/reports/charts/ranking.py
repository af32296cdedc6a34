"""Precision against recall: all labels pooled, the baseline, and a few labels."""

from collections.abc import Sequence

from postq.reports.charts.chart import Chart
from postq.reports.charts.style import INK, MUTED, SERIES, finish, house_style, new_figure, plain, shorten
from postq.reports.content import Curve


def precision_recall_chart(curves: Sequence[Curve], *, name: str) -> Chart:
    """Pooled curves are heavy and stand first, those of single labels light and coloured."""
    pooled = sum(curve.pooled for curve in curves)
    with house_style():
        figure, axes = new_figure(size=(4.7, 3.9))
        for at, curve in enumerate(curves):
            label = f"{shorten(curve.name)}  {curve.note}".strip()
            colour, width, line = _look(at, pooled)
            axes.plot(curve.x, curve.y, color=colour, linewidth=width, linestyle=line, label=label)
        axes.set(xlim=(0, 1.005), ylim=(0, 1.03), xlabel="recall", ylabel="precision")
        figure.legend(loc="outside lower center", ncols=1, handlelength=1.6, labelspacing=0.25)
        told = "; ".join(f"{plain(curve.name)} {curve.note}" for curve in curves)
        return finish(figure, name=name, title="Precision against recall", description=f"Curves of {told}.")


def _look(at: int, pooled: int) -> tuple[str, float, str]:
    if at == 0:
        return INK, 2.4, "-"
    if at < pooled:
        return MUTED, 1.8, "--"
    turn, colour = divmod(at - pooled, len(SERIES))
    return SERIES[colour], 1.4, "-" if turn % 2 == 0 else "-."
