"""Two curves of each bundle in one plot: precision against recall, and F1 over one threshold."""

from collections.abc import Sequence

from postq.reports.charts.chart import Chart
from postq.reports.charts.style import MUTED, SERIES, finish, house_style, new_figure, shorten
from postq.reports.content import Report


def pooled_rivals_chart(reports: Sequence[Report], titles: Sequence[str], *, name: str) -> Chart:
    """All labels pooled, one line a bundle, each on its own test documents."""
    drawn = [
        (title, one.precision_recall[0]) for title, one in zip(titles, reports, strict=True) if one.sweep
    ]
    with house_style():
        figure, axes = new_figure(size=(4.7, 3.9))
        for at, (title, curve) in enumerate(drawn):
            label = f"{shorten(title)}  {curve.note}"
            axes.plot(curve.x, curve.y, color=SERIES[at % len(SERIES)], label=label)
        axes.set(xlim=(0, 1.005), ylim=(0, 1.03), xlabel="recall", ylabel="precision")
        figure.legend(loc="outside lower center", ncols=1, labelspacing=0.25)
        told = "; ".join(f"{title} {curve.note}" for title, curve in drawn)
        return finish(figure, name=name, title="Precision against recall", description=f"{told}.")


def sweep_rivals_chart(reports: Sequence[Report], titles: Sequence[str], *, name: str) -> Chart:
    """Micro-F1 whole, macro-F1 dashed, over one threshold for all labels."""
    with house_style():
        figure, axes = new_figure(size=(4.7, 3.9))
        for at, (title, report) in enumerate(zip(titles, reports, strict=True)):
            if report.sweep:
                colour = SERIES[at % len(SERIES)]
                axes.plot(report.sweep.thresholds, report.sweep.micro, color=colour, label=shorten(title))
                axes.plot(
                    report.sweep.thresholds, report.sweep.macro, color=colour, linestyle="--", linewidth=1.2
                )
        axes.axvline(0.5, color=MUTED, linewidth=1, linestyle=":")
        axes.plot([], [], color=MUTED, linestyle="--", linewidth=1.2, label="dashed: macro-F1")
        axes.set(xlim=(0, 1), ylim=(0, 1.03), xlabel="one threshold for all labels", ylabel="F1")
        figure.legend(loc="outside lower center", ncols=1, labelspacing=0.25)
        return finish(
            figure,
            name=name,
            title="One threshold for all labels",
            description="A flat top is a model that forgives a threshold that is a little off.",
        )
