"""Tables and grids for people; imported only when something is about to be printed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from postq.cli.printing.column import Column
from postq.cli.printing.terminal import clean

GAP = 2
MIN_FLEXIBLE = 10
"""Columns a wrapped cell keeps on a narrow terminal; where it would get less, each row is a block."""


ROOMY = 24
"""Columns a wrapped last cell needs to be read with ease; with fewer it stands below its row."""


class FittedListing:
    """A table where the window is wide enough, else a block of lines a row: nothing is cut at its edge.

    Between the two, only the last cell of each row stands on lines of its own.
    """

    def __init__(
        self,
        columns: Sequence[Column[Any]],
        rows: Sequence[Any],
        *,
        widths: Mapping[str, int] | None = None,
        headed: bool = True,
    ) -> None:
        """`widths`, by the columns' keys, are the least: rows printed one by one stand in line by them."""
        self._shown = [column for column in columns if column.heading]
        self._rows = rows
        self._widths = widths or {}
        self._headed = headed

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Asked by the console, which alone knows how wide it is."""
        if self._least_width() <= options.max_width:
            cramped = self._last_is_cramped(options.max_width)
            yield from self._last_below() if cramped else [self._table()]
            return
        for number, row in enumerate(self._rows):
            if number or not self._headed:
                yield ""
            yield facts((column.heading, cell(column, row)) for column in self._shown)

    def _least_width(self) -> int:
        """Columns of the terminal under which something would be cut off."""
        widths = (self._least_width_of(column) for column in self._shown)
        return sum(widths) + GAP * (len(self._shown) - 1)

    def _least_width_of(self, column: Column[Any]) -> int:
        return min(self._width_of(column), MIN_FLEXIBLE) if column.flexible else self._width_of(column)

    def _width_of(self, column: Column[Any]) -> int:
        lines = [line for row in self._rows for line in cell(column, row).plain.split("\n")]
        return max(self._widths.get(column.key, 0), *map(cell_len, [column.heading or "", *lines]))

    def _last_is_cramped(self, width: int) -> bool:
        """Whether the last column alone is to be wrapped, and into few columns."""
        *others, last = self._shown
        if not last.flexible or any(column.flexible for column in others):
            return False
        left = width - sum(self._width_of(column) + GAP for column in others)
        return left < min(ROOMY, self._width_of(last))

    def _last_below(self) -> Iterator[RenderableType]:
        *others, last = self._shown
        widths = [self._width_of(column) for column in others]
        indent = (0, 0, 0, widths[0] + GAP)
        if self._headed:
            yield _aligned(others, widths, [Text(column.heading, style="dim") for column in others])
            yield Padding(Text(last.heading, style="dim"), indent)
        for row in self._rows:
            yield _aligned(others, widths, [cell(column, row) for column in others])
            if (below := cell(last, row)).plain:
                yield Padding(below, indent)

    def _table(self) -> Table:
        """One line a row, headings dim, no frame."""
        table = Table(
            box=None,
            pad_edge=False,
            padding=(0, GAP, 0, 0),
            header_style="dim",
            show_header=self._headed,
        )
        for column in self._shown:
            table.add_column(
                column.heading,
                justify="right" if column.right else "left",
                no_wrap=not column.flexible,
                overflow="ellipsis" if not column.flexible else "fold",
                min_width=MIN_FLEXIBLE if column.flexible else self._width_of(column),
            )
        for row in self._rows:
            table.add_row(*(cell(column, row) for column in self._shown))
        return table


def _aligned(columns: Sequence[Column[Any]], widths: Sequence[int], cells: Sequence[Text]) -> Text:
    """One line of cells as wide as given."""
    for column, width, text in zip(columns, widths, cells, strict=True):
        text.align("right" if column.right else "left", width)
    return Text(" " * GAP).join(cells)


def cell(column: Column[Any], row: Any) -> Text:
    """One cell, safe to print whatever the data holds."""
    shown = column.cell(row) if column.cell else column.value(row)
    text = "" if shown is None else f"{shown:,}" if isinstance(shown, int) else str(shown)
    return Text("\n".join(map(clean, text.split("\n"))), style=column.style(row) if column.style else "")


def grid(rows: Iterable[Sequence[RenderableType]], *, indent: int = 2) -> RenderableType:
    """Rows without headings, set in by `indent` columns; long cells are wrapped, and no digest is cut."""
    listed = list(rows)
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for _ in range(max(map(len, listed), default=0)):
        table.add_column(overflow="fold")
    for row in listed:
        table.add_row(*row)
    return Padding(table, (0, 0, 0, indent))


def facts(pairs: Iterable[tuple[str, RenderableType | None]]) -> RenderableType:
    """Names, dim, with their values beside them; pairs without a value are left out."""
    return grid(
        (Text(name, style="dim"), Text(clean(value)) if isinstance(value, str) else value)
        for name, value in pairs
        if value is not None and str(value) != ""
    )
