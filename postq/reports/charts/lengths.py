"""F1 by length of document: the mean hides what happens to long ones."""

from collections.abc import Sequence

from postq.counted import counted
from postq.reports.charts.chart import Chart
from postq.reports.charts.style import FIRST, INK, ON_FILL, finish, house_style, new_figure
from postq.reports.content import LengthRow
from postq.reports.estimate import decimal

FEWEST_PLACES = 3
"""Room for this many bars, so that one alone is no wall."""


def length_chart(rows: Sequence[LengthRow], *, name: str) -> Chart:
    """One bar a range of word counts, with its micro-F1 and how many documents it stands for."""
    with house_style():
        figure, axes = new_figure(size=(4.7, 3.9))
        places = range(len(rows))
        axes.barh(list(places), [row.micro_f1 for row in rows], color=FIRST, height=0.62)
        for at, row in zip(places, rows, strict=True):
            inside = row.micro_f1 > 0.45
            axes.annotate(
                f"{decimal(row.micro_f1)} · {counted(row.documents, 'doc')}",
                (row.micro_f1, at),
                xytext=(-5 if inside else 5, 0),
                textcoords="offset points",
                ha="right" if inside else "left",
                va="center",
                color=ON_FILL if inside else INK,
                fontsize=9,
            )
        axes.set_yticks(list(places), [row.name for row in rows])
        axes.set_ylim(max(len(rows), FEWEST_PLACES) - 0.5, -0.5)
        axes.set(xlim=(0, 1), xlabel="micro-F1", ylabel="words")
        axes.grid(visible=False, axis="y")
        told = "; ".join(f"{row.name} words {decimal(row.micro_f1)}" for row in rows)
        return finish(figure, name=name, title="F1 by length", description=f"Micro-F1 by length: {told}.")
