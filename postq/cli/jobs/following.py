"""`postq events --follow`: the newest lines of a job's history, then every new one until the job ends."""

import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from postq.cli.invocation import Invocation
from postq.cli.jobs.watching import LOOK_SECONDS, patiently
from postq.cli.printing.listing import Listing
from postq.cli.printing.terminal import show, show_json_line

if TYPE_CHECKING:
    from postq.jobs.tail import Look
    from postq.jobs.views import EventView

WIDTHS = {"at": 14, "shard": 6, "token": 5, "type": 30, "message": 24}
"""Of the columns; fixed, since the lines to come are not known. No cell is cut."""


def follow_events(
    invocation: Invocation, job: int, *, limit: int, json: bool, listing: "Listing[EventView]"
) -> None:
    """Print the newest `limit` lines and then each new one, in the order in which they come to light.

    A database that goes away is waited for. Raises NotFound for an unknown job, or one that is pruned.
    """
    from postq.cli.printing.tables import FittedListing

    for number, seen in enumerate(_looks(invocation, job, limit=limit)):
        if number == 0 and not json:
            show(FittedListing(listing.columns, [], widths=WIDTHS))
        for line in seen.lines:
            if json:
                show_json_line(listing.as_dict(line))
            else:
                show(FittedListing(listing.columns, [line], widths=WIDTHS, headed=False))


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
