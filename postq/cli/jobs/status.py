"""`postq status`: one job or many, once or live."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import Invocation, invocation_of
from postq.cli.jobs.filter import JobFilter
from postq.cli.jobs.listing import LISTING
from postq.cli.printing.terminal import note, show, show_json

if TYPE_CHECKING:
    from postq.jobs.views import JobView

STATES = ("blocked", "ready", "running", "succeeded", "succeeded_with_quarantine", "failed", "cancelled")


@command(
    "status",
    examples=("postq status", "postq status 7 --watch", "postq status --state running --json"),
    exits=(4, *ON_DATABASE),
)
def status(
    ctx: typer.Context,
    *,
    job: Annotated[
        int | None,
        typer.Argument(
            metavar="JOB",
            min=1,
            max=options.LARGEST_NUMBER,
            help="A job's number; without it, all jobs.",
            show_default=False,
        ),
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help="Only jobs in this state; repeatable.", show_default=False),
    ] = None,
    kind: Annotated[
        Literal["train", "evaluate", "classify"] | None,
        typer.Option(metavar="KIND", help="Only train, evaluate or classify jobs.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="Most jobs to list.")] = 20,
    watch: Annotated[
        bool, options.switch("--watch", "-w", help="Stay and refresh until every job shown has ended.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Show what jobs do and why: one job in full, or a list, newest first."""
    if watch and json:
        raise typer.BadParameter("--watch and --json do not go together.")
    if unknown := set(state or ()) - set(STATES):
        raise typer.BadParameter(f"'{min(unknown)}' is no state; the states are: {', '.join(STATES)}.")
    if job is not None and (state or kind):
        raise typer.BadParameter("JOB names one job; --state and --kind choose among all.")
    invocation = invocation_of(ctx)
    wanted = JobFilter(job=job, states=tuple(state or ()), kind=kind, limit=limit)
    if watch:
        from postq.cli.jobs.watching import watch_jobs

        watch_jobs(invocation, wanted)
    elif job is not None:
        _show_one(wanted.ask(invocation)[0], json=json)
    else:
        _show_all(invocation, wanted, json=json)


def _show_one(view: "JobView", *, json: bool) -> None:
    if json:
        show_json(LISTING.as_dict(view))
        return
    from postq.cli.jobs.page import job_page

    show(job_page(view))


def _show_all(invocation: Invocation, wanted: JobFilter, *, json: bool) -> None:
    views = wanted.ask(invocation)
    LISTING.show(views, json=json)
    if len(views) == wanted.limit and not json:
        note(f"ends after the newest {wanted.limit}; --limit shows more.")
