"""How a comparison looks in a terminal: each bundle, its difference to the first, who wins."""

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from postq.cli.printing.terminal import clean
from postq.counted import counted
from postq.reports.comparing import Comparison, told_difference


def comparison_lines(comparison: Comparison) -> RenderableType:
    """Heading, table, verdicts, what was left out."""
    on = (
        f"{counted(comparison.documents, 'common test document')}, {counted(len(comparison.labels), 'label')}"
    )
    parts: list[RenderableType] = [Text(f"On {on}, each bundle at its default thresholds"), Text("")]
    parts += [_table(comparison), Text("")]
    parts += [Text(clean(one.sentence)) for one in comparison.standings if one.sentence]
    parts += [Text(clean(warning), style="yellow") for warning in comparison.warnings]
    return Group(*parts)


def _table(comparison: Comparison) -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("Bundle", "micro-F1", "macro-F1", "micro difference", "macro difference"):
        table.add_column(heading, overflow="fold")
    for one in comparison.standings:
        table.add_row(
            Text(clean(one.title), style="bold"),
            Text(one.micro.words()),
            Text(one.macro.words()),
            Text(told_difference(one.micro_difference)),
            Text(told_difference(one.macro_difference)),
        )
    return Padding(table, (0, 0, 0, 2))
