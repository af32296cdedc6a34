"""Staying with jobs: a live display on a terminal, plain lines in a pipe, until all of them have ended."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from postq.cli.invocation import Invocation
from postq.cli.jobs.filter import JobFilter
from postq.cli.jobs.listing import LISTING, has_ended, job_line
from postq.cli.printing.terminal import messages, note, results, say, show, show_json
from postq.cli.printing.wording import duration
from postq.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from postq.jobs.views import JobView

Answer = TypeVar("Answer")
LOOK_SECONDS = 0.5
OUTAGE_SECONDS = 120.0
"""How long the database may be away before watching gives up."""
EXIT_CODES = {"succeeded": 0, "failed": 10, "cancelled": 11, "succeeded_with_quarantine": 12}


def watch_jobs(invocation: Invocation, wanted: JobFilter) -> None:
    """`status --watch`: show the jobs until every one of them has ended."""
    from postq.cli.jobs.page import job_page
    from postq.cli.printing.tables import FittedListing

    def render(views: "list[JobView]") -> "RenderableType":
        if not views:
            return LISTING.empty
        return job_page(views[0]) if wanted.job is not None else FittedListing(LISTING.columns, views)

    wanted.ask(invocation)  # a database that cannot be used from the start is told at once
    _follow(invocation, wanted, render=render, console=results(), stays=True)


def wait_for_job(invocation: Invocation, job_id: int, *, json: bool) -> int:
    """`--wait`: show progress on the error stream, the outcome on standard output; returns the exit code.

    Ctrl-C leaves the job running, says so, and raises KeyboardInterrupt on.
    """
    from postq.cli.jobs.page import job_page, live_lines

    try:
        views = _follow(
            invocation,
            JobFilter(job=job_id),
            render=lambda found: live_lines(found[0]),
            console=messages(),
            stays=False,
        )
    except KeyboardInterrupt:
        say("")
        note(f"job {job_id} goes on without this terminal.")
        say(f"  Look at it with: postq status {job_id}. Stop it with: postq cancel {job_id}.", style="dim")
        raise
    if json:
        show_json(LISTING.as_dict(views[0]))
    else:
        show(job_page(views[0]))
    return EXIT_CODES[views[0].state.value]


def _follow(
    invocation: Invocation,
    wanted: JobFilter,
    *,
    render: "Callable[[list[JobView]], RenderableType]",
    console: "Console",
    stays: bool,
) -> "list[JobView]":
    """Look again and again until all jobs shown have ended; returns the last look."""

    def look() -> "list[JobView]":
        return patiently(lambda: wanted.ask(invocation))

    if not console.is_terminal:
        return _tell_changes(look)
    from rich.live import Live

    views = look()
    with Live(render(views), console=console, auto_refresh=False, transient=not stays) as live:
        while not all(map(has_ended, views)):
            time.sleep(LOOK_SECONDS)
            views = look()
            live.update(render(views), refresh=True)
    return views


class Changes:
    """One line per job whenever its state, phase or tenth of the way changes."""

    def __init__(self) -> None:
        self._told: dict[int, object] = {}

    def tell(self, views: "list[JobView]") -> None:
        """Tell of those that changed since they were told of last."""
        for view in views:
            step = _step(view)
            if self._told.get(view.id) != step:
                self._told[view.id] = step
                sys.stderr.write(f"{job_line(view)}\n")
                sys.stderr.flush()


def _tell_changes(look: "Callable[[], list[JobView]]") -> "list[JobView]":
    changes = Changes()
    while True:
        views = look()
        changes.tell(views)
        if all(map(has_ended, views)):
            return views
        time.sleep(LOOK_SECONDS)


def _step(view: "JobView") -> object:
    progress = view.progress
    tenth = 10 * progress.done // progress.total if progress.total and view.state.value == "running" else 0
    return view.state, view.waiting, progress.unit, tenth


class Patience:
    """With a database that is away: said once, and at an end after a while."""

    def __init__(self) -> None:
        self._deadline: float | None = None

    def bear(self, exc: DatabaseUnavailable) -> None:
        """Raise `exc` once the database has been away for too long."""
        if self._deadline is None:
            self._deadline = time.monotonic() + OUTAGE_SECONDS
            note(f"{exc.message} Looking again for up to {duration(OUTAGE_SECONDS)}.")
        if time.monotonic() > self._deadline:
            raise exc


def patiently(ask: Callable[[], Answer]) -> Answer:
    """What `ask` answers; a database that is away for a while is waited for, and that is said."""
    patience = Patience()
    while True:
        try:
            return ask()
        except DatabaseUnavailable as exc:
            patience.bear(exc)
            time.sleep(LOOK_SECONDS)
