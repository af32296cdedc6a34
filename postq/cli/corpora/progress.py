"""How far a corpus has been read or written: a bar on a terminal, nothing in a pipe."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from postq.cli.printing.terminal import messages

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

    from postq.corpus.screening import Progress
    from postq.corpus.streams import Meter


@contextmanager
def reading_progress() -> "Iterator[Progress | None]":
    """A callback for the readers while the bar is up; None where there is no terminal to show one."""
    with _bar("Reading") as bar:
        if bar is None:
            yield None
            return
        task = bar.add_task("", total=None, records=0)

        def moved(records: int, meter: "Meter") -> None:
            bar.update(task, completed=meter.bytes_done, total=meter.bytes_total, records=records)

        yield moved


@contextmanager
def writing_progress() -> "Iterator[Callable[[int, int], None] | None]":
    """The same for a writer that tells (records written, records in all)."""
    with _bar("Writing") as bar:
        if bar is None:
            yield None
            return
        task = bar.add_task("", total=None, records=0)

        def moved(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, records=done)

        yield moved


@contextmanager
def _bar(title: str) -> "Iterator[RichProgress | None]":
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn(title),
        BarColumn(bar_width=30),
        TaskProgressColumn(),
        TextColumn("{task.fields[records]:,} records", style="dim"),
        TimeElapsedColumn(),
    )
    with RichProgress(*columns, console=messages(), transient=True) as bar:
        yield bar
