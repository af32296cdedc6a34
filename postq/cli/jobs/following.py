"""`postq events --follow`: the newest lines of a job's history, then every new one until the job ends."""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from postq.cli.invocation import Invocation
from postq.cli.jobs.watching import LOOK_SECONDS, patiently
from postq.cli.printing.column import Column
from postq.cli.printing.listing import Listing
from postq.cli.printing.terminal import show, show_json_line

if TYPE_CHECKING:
    from postq.jobs.tail import Look
    from postq.jobs.views import EventView

WIDTHS = {"at": 14, "shard": 6, "token": 5, "type": 30}
"""Of the columns before the message; fixed, since the lines to come are not known. No cell is cut."""


def follow_events(
    invocation: Invocation, job: int, *, limit: int, json: bool, listing: "Listing[EventView]"
) -> None:
    """Print the newest `limit` lines and then each new one, in the order in which they come to light.

    A database that goes away is waited for. Raises NotFound for an unknown job, or one that is pruned.
    """
    shown = [column for column in listing.columns if column.heading]
    for number, seen in enumerate(_looks(invocation, job, limit=limit)):
        if number == 0 and not json:
            show(_spaced(shown, [column.heading for column in shown]))
        for line in seen.lines:
            if json:
                show_json_line(listing.as_dict(line))
            else:
                show(_line(shown, line))


def _looks(invocation: Invocation, job: int, *, limit: int) -> "Iterator[Look]":
    """Look after look until one at which the job has ended."""
    from postq.jobs.tail import look_at_events

    def look(**options: Any) -> "Look":
        with invocation.database.reading() as session:
            return look_at_events(session, job, **options)

    seen = look(newest=limit)
    yield seen
    while not seen.ended:
        time.sleep(LOOK_SECONDS)
        seen = patiently(partial(look, known=seen.numbers))
        yield seen


def _line(shown: "list[Column[EventView]]", line: "EventView") -> str:
    from postq.cli.printing.tables import cell

    return _spaced(shown, [cell(column, line).plain for column in shown])


def _spaced(shown: "list[Column[EventView]]", cells: Sequence[str]) -> str:
    return "  ".join(
        text.rjust(WIDTHS.get(column.key, 0)) if column.right else text.ljust(WIDTHS.get(column.key, 0))
        for column, text in zip(shown, cells, strict=True)
    ).rstrip()
