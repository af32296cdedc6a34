"""What `postq up --until-idle` says of jobs: a live display on a terminal, plain lines in a pipe."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from postq.cli.invocation import Invocation
from postq.cli.jobs.filter import JobFilter
from postq.cli.jobs.listing import LISTING, job_line
from postq.cli.jobs.watching import Changes, Patience
from postq.cli.printing.terminal import messages, messages_above, say, to_nobody_if_closed
from postq.cli.workers.living import unended_jobs
from postq.errors import DatabaseUnavailable, NotFound

if TYPE_CHECKING:
    from rich.live import Live

    from postq.jobs.views import JobView

    Tell = Callable[[list[JobView], list[JobView]], None]
    """Tells of jobs that have ended since the last look, and of those under way."""

MOST_SHOWN = 5
"""Jobs in the display at once."""
PATIENCE_SECONDS = 10.0
"""For so long nothing may run before a job that waits is told of: between two jobs it is a moment."""


class Course:
    """Looks at all jobs, and tells what became of them since the look before."""

    def __init__(self, invocation: Invocation, tell: "Tell") -> None:
        self._invocation = invocation
        self._tell = tell
        self._open: set[int] = set()
        self._ran_at = time.monotonic()
        self._patience = Patience()

    def all_ended(self) -> bool:
        """Whether no job is left that has not ended; not known while the database is away.

        The workers wait for it too. Raises DatabaseUnavailable once it has been away for too long.
        """
        try:
            still = unended_jobs(self._invocation.database)
            ended = [view for number in sorted(self._open - still) for view in self._views(number)]
            going = self._under_way()
        except DatabaseUnavailable as exc:
            self._patience.bear(exc)
            return False
        self._open, self._patience = still, Patience()
        self._tell(ended, going)
        return not still

    def _views(self, number: int) -> "list[JobView]":
        """The job, unless it was pruned meanwhile."""
        try:
            return JobFilter(job=number).ask(self._invocation)
        except NotFound:
            return []

    def _under_way(self) -> "list[JobView]":
        """The jobs that run; where none has for a while, the newest that waits, with its reason."""
        running = JobFilter(states=("running",), limit=MOST_SHOWN).ask(self._invocation)
        now = time.monotonic()
        if running:
            self._ran_at = now
        if running or now - self._ran_at < PATIENCE_SECONDS:
            return running
        return JobFilter(states=("ready",), limit=1).ask(self._invocation)


@contextmanager
def course_of_jobs(invocation: Invocation) -> Iterator[Callable[[], bool]]:
    """What to ask, again and again, whether all jobs have ended; each time it tells what has changed.

    Workers that write to this terminal themselves (`--verbose`) would run into a live display.
    """
    console = messages()
    if invocation.verbose or not console.is_terminal:
        changes = Changes()
        yield Course(invocation, lambda ended, going: changes.tell([*ended, *going])).all_ended
        return
    from rich.console import Group
    from rich.live import Live

    display = Live(Group(), console=console, auto_refresh=False, transient=True)
    with display as live, messages_above(console):
        yield Course(invocation, partial(_display, live)).all_ended


def _display(live: "Live", ended: "list[JobView]", going: "list[JobView]") -> None:
    from rich.console import Group

    from postq.cli.printing.tables import FittedListing

    for view in ended:
        say(job_line(view))
    with to_nobody_if_closed():
        live.update(FittedListing(LISTING.columns, going) if going else Group(), refresh=True)
