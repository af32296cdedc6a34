"""`postq events`: the history of a job, line by line."""

from typing import TYPE_CHECKING, Annotated

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import invocation_of
from postq.cli.printing.column import Column
from postq.cli.printing.listing import Listing

if TYPE_CHECKING:
    from postq.jobs.views import EventView


def _what(view: "EventView") -> str:
    if view.to_state is None:
        return view.type
    return f"{view.type} {view.from_state or '·'} → {view.to_state}"


LISTING: "Listing[EventView]" = Listing(
    name="events",
    empty="The job has no events.",
    columns=(
        Column(key="event", meaning="number; events of a job are in order", value=lambda v: v.id),
        Column(
            key="at",
            meaning="when, by the database's clock",
            value=lambda v: v.at,
            heading="When",
            cell=lambda v: f"{v.at.astimezone():%m-%d %H:%M:%S}",
            style=lambda _: "dim",
        ),
        Column(key="job", meaning="job", value=lambda v: v.job_id),
        Column(
            key="shard", meaning="shard, or null", value=lambda v: v.shard_id, heading="Shard", right=True
        ),
        Column(
            key="token",
            meaning="lease token of the attempt, or null",
            value=lambda v: v.token,
            heading="Token",
            right=True,
        ),
        Column(
            key="type",
            meaning="such as `job.state`, `shard.state`, `checkpoint`, `detector.shy`",
            value=lambda v: v.type,
            heading="Event",
            cell=_what,
        ),
        Column(key="from_state", meaning="state left, or null", value=lambda v: v.from_state),
        Column(key="to_state", meaning="state entered, or null", value=lambda v: v.to_state),
        Column(
            key="message", meaning="one sentence", value=lambda v: v.message, heading="Message", flexible=True
        ),
        Column(key="data", meaning="facts of the event, or null", value=lambda v: v.data),
    ),
)


@command(
    "events",
    examples=("postq events 7", "postq events 7 --follow", "postq events 7 --limit 1000 --json"),
    exits=(4, *ON_DATABASE),
)
def events(
    ctx: typer.Context,
    *,
    job: options.JobNumber,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="The newest N lines.")] = 100,
    follow: Annotated[
        bool, options.switch("--follow", "-f", help="Stay and print every new line until the job has ended.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Show the history of a job: every change of state and everything worth telling.

    With --follow, --json prints one object a line. A line may come after one with a higher number, when its
    transaction took longer. Ctrl-C ends the command, not the job.
    """
    from postq.jobs.queries import events_of

    invocation = invocation_of(ctx)
    if follow:
        from postq.cli.jobs.following import follow_events

        follow_events(invocation, job, limit=limit, json=json, listing=LISTING)
        return
    with invocation.database.reading() as session:
        rows = events_of(session, job, limit=limit, newest=True)
    LISTING.show(rows, json=json)
