"""Differences of bundles to the first one, each with its interval."""

from collections.abc import Sequence

from postq.reports.charts.chart import Chart
from postq.reports.charts.style import FIRST, MUTED, SECOND, finish, house_style, new_figure, shorten
from postq.reports.comparing import Standing, told_difference


def standings_chart(standings: Sequence[Standing], *, name: str) -> Chart:
    """Micro- and macro-F1 differences; an interval that touches the dashed line is no win."""
    others = [one for one in standings if one.micro_difference is not None]
    with house_style():
        figure, axes = new_figure(size=(4.7, 1.3 + 0.62 * len(others)))
        for shift, colour, label, attribute in (
            (-0.13, FIRST, "micro-F1", "micro_difference"),
            (0.13, SECOND, "macro-F1", "macro_difference"),
        ):
            found = [getattr(one, attribute) for one in others]
            middle = [one.value for one in found]
            axes.errorbar(
                middle,
                [at + shift for at in range(len(others))],
                xerr=[
                    [one.value - one.low for one in found],
                    [one.high - one.value for one in found],
                ],
                fmt="o",
                color=colour,
                capsize=3,
                label=label,
            )
        axes.axvline(0, color=MUTED, linewidth=1, linestyle="--")
        axes.set_yticks(range(len(others)), [shorten(one.title) for one in others])
        axes.set_ylim(len(others) - 0.5, -0.5)
        axes.set_xlabel(f"F1 above or below {shorten(standings[0].title)}")
        figure.legend(loc="outside lower center", ncols=2)
        told = "; ".join(
            f"{one.title}: micro {told_difference(one.micro_difference)}, macro "
            f"{told_difference(one.macro_difference)}"
            for one in others
        )
        return finish(figure, name=name, title="Difference to the first", description=f"{told}.")
