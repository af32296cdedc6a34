"""How a report looks in a terminal: the sentence, the comparison, what detectors say, the weakest labels."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from postq.cli.printing.figures import CROSS_FITTED, Figures, FiguresTable
from postq.cli.printing.tables import facts
from postq.cli.printing.terminal import clean
from postq.reports.content import ComparisonRow, Report
from postq.reports.estimate import decimal

SEVERITY = {"error": "bold red", "warning": "yellow", "info": "cyan"}


def report_lines(report: Report) -> RenderableType:
    """Watermark, heading, headline, table, detectors, facts."""
    parts: list[RenderableType] = []
    if report.watermark:
        parts += [Text(clean(report.watermark), style="bold white on red"), Text("")]
    parts += [
        Text.assemble((clean(report.name), "bold"), f" · {clean(report.subtitle)}"),
        Text(""),
        Text(clean(report.headline)),
        Text(clean(_against(report))),
        Text(""),
        FiguresTable(list(_figures(report))),
        Text(""),
        *_findings(report),
        *(Text(clean(f"Rules between labels, {each}")) for each in report.rules[:1]),
        *(Text(clean(f"  {each}")) for each in report.rules[1:]),
        Text(""),
        facts(report.data_facts),
    ]
    return Group(*parts)


def _against(report: Report) -> str:
    return f"{report.baseline_sentence} {report.verdict.sentence if report.verdict else ''}".strip()


def _figures(report: Report) -> Iterator[Figures]:
    """A line per model and set of documents, and one for its cross-fitted thresholds."""
    keys = dict.fromkeys((row.model, _line_of(row)) for row in report.comparison)
    for model, on in keys:
        rows = [row for row in report.comparison if (row.model, _line_of(row)) == (model, on)]
        yield Figures(
            model=model,
            on=on,
            f1={
                "default" if on == CROSS_FITTED else row.cut: (row.micro.value, row.macro.value)
                for row in rows
            },
            mean_average_precision=rows[0].mean_average_precision,
        )


def _line_of(row: ComparisonRow) -> str:
    return CROSS_FITTED if row.cut == "cross_fitted" else row.on


def _findings(report: Report) -> Iterator[RenderableType]:
    if not report.findings:
        yield Text("Detectors: none fired.")
    for found in report.findings:
        yield Text.assemble((f"{found.event}: ", SEVERITY.get(found.severity, "")), clean(found.message))
    worst = [row for row in report.labels if row.support >= 5 and row.f1.value is not None]
    worst = sorted(worst, key=lambda row: row.f1.value or 0.0)[:5]
    if worst:
        told = " · ".join(f"{clean(row.label)} {decimal(row.f1.value, digits=2)}" for row in worst)
        yield Text.assemble(("Weakest labels with at least 5 documents (F1): ", "dim"), told)
