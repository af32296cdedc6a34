"""The HTML page of a report: one file, nothing fetched, nothing run, every text escaped."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from postq import __version__
from postq.reports.comparing import LabelDifference
from postq.reports.content import CUTS, ComparisonRow, Report
from postq.reports.drawing import draw_report
from postq.reports.estimate import Estimate, decimal, estimate

TEMPLATES = Path(__file__).parent / "templates"
SHOWN_LABELS = 60
REACHES = (0.05, 0.1, 0.2, 0.5)
SECTIONS = (
    ("comparison", "Comparison"),
    ("tracks", "Tracks"),
    ("detectors", "Detectors"),
    ("training", "Training"),
    ("curves", "Curves"),
    ("labels", "Labels"),
    ("data", "Data"),
    ("configuration", "Configuration"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Lines of one model in the comparison table."""

    title: str
    on: str
    rows: tuple[ComparisonRow, ...]


def report_page(report: Report) -> str:
    """The report as one self-contained HTML document."""
    main, other = comparison_groups(report)
    return render(
        "report.html",
        report=report,
        charts=draw_report(report),
        groups=main,
        other_groups=other,
        tiles=tuple(_tiles(report)),
        sections=SECTIONS,
        cuts=CUTS,
        watermark=report.watermark,
        shown_labels=SHOWN_LABELS,
    )


def comparison_groups(report: Report) -> tuple[list[Group], list[Group]]:
    """The table of the documents judged, each model with its cross-fitted line; and that of all others."""
    main: list[Group] = []
    other: list[Group] = []
    for model, found in groupby_order(report.comparison, "model"):
        honest = [row for row in found if row.cut == "cross_fitted"]
        for on, rows in groupby_order([row for row in found if row.cut != "cross_fitted"], "on"):
            judged = on in (report.on, "test")
            group = Group(
                title=f"{model} on {rows[0].place}", on=on, rows=(*rows, *(honest if judged else ()))
            )
            (main if judged else other).append(group)
    return main, other


def groupby_order(rows: Iterable[Any], key: str) -> list[tuple[Any, list[Any]]]:
    """Rows by an attribute, in the order of first appearance."""
    asked = attrgetter(key)
    order: dict[Any, int] = {}
    listed = list(rows)
    for row in listed:
        order.setdefault(asked(row), len(order))
    return [
        (value, list(found))
        for value, found in groupby(sorted(listed, key=lambda row: order[asked(row)]), asked)
    ]


def _tiles(report: Report) -> Iterator[tuple[str, Estimate, bool]]:
    judged = next(row for row in report.comparison if row.on == report.on and row.cut == "default")
    yield "micro-F1", judged.micro, False
    yield "macro-F1", judged.macro, False
    if report.verdict:
        yield "micro-F1 against the baseline", report.verdict.micro, True
        yield "macro-F1 against the baseline", report.verdict.macro, True
    else:
        yield "mean average precision", estimate(judged.mean_average_precision), False


def render(template: str, **context: Any) -> str:
    """A template with autoescape on; what is missing is an error, not a gap."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "num": decimal,
        "share": _share,
        "clip": _clip,
        "reach": _reach,
        "drawn": Markup,  # only ever given our own SVG, whose texts matplotlib has escaped
        "groupby_order": groupby_order,
    }
    css = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))  # noqa: S704
    return environment.get_template(template).render(css=css, version=__version__, **context)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _reach(rows: Sequence[LabelDifference]) -> float:
    """How far the bars of a table reach to either side: a step that holds most intervals; the rest are cut.

    The interval of a label on two documents spans everything and would flatten all others.
    """
    bounds = [
        abs(bound) for row in rows for bound in (row.difference.low, row.difference.high) if bound is not None
    ]
    most = sorted(bounds)[int(0.75 * (len(bounds) - 1))] if bounds else 0.0
    return next((step for step in REACHES if most <= step), 1.0)


def _clip(value: float) -> str:
    return f"{min(1.0, max(-1.0, value)):.4f}"
