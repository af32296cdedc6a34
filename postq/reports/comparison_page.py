"""The HTML page of a comparison."""

from postq.reports.charts.rivals import pooled_rivals_chart, sweep_rivals_chart
from postq.reports.charts.standings import standings_chart
from postq.reports.comparing import Comparison
from postq.reports.content import CUTS
from postq.reports.page import SHOWN_LABELS, Group, comparison_groups, render

SECTIONS = (
    ("standing", "Standing"),
    ("comparison", "Every threshold"),
    ("curves", "Curves"),
    ("labels", "Labels"),
    ("detectors", "Detectors"),
    ("configuration", "Configuration"),
)


def comparison_page(comparison: Comparison) -> str:
    """The comparison as one self-contained HTML document."""
    return render(
        "compare.html",
        comparison=comparison,
        charts=(
            pooled_rivals_chart(comparison.reports, comparison.titles, name="pr"),
            sweep_rivals_chart(comparison.reports, comparison.titles, name="sweep"),
        ),
        standings_chart=standings_chart(comparison.standings, name="standing"),
        groups=_groups(comparison),
        settings=differing_settings(comparison),
        sections=SECTIONS,
        cuts=CUTS,
        watermark="",
        shown_labels=SHOWN_LABELS,
    )


def _groups(comparison: Comparison) -> list[Group]:
    """Each bundle's own table of thresholds; that of an ensemble's member compared beside it only once."""
    found: list[Group] = []
    for report in comparison.reports:
        found += [group for group in comparison_groups(report)[0] if group not in found]
    return found


def differing_settings(comparison: Comparison) -> tuple[list[tuple[str, list[str]]], int]:
    """Rows of the recipes that differ, a column a bundle; and how many rows are equal in all."""
    recipes = [dict(report.configuration) for report in comparison.reports]
    names = list(dict.fromkeys(name for recipe in recipes for name in recipe))
    rows = [(name, [recipe.get(name, "–") for recipe in recipes]) for name in names]
    differing = [row for row in rows if len(set(row[1])) > 1]
    return differing, len(rows) - len(differing)
