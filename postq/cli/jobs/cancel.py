"""`postq cancel`: stop a job that has not ended."""

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import invocation_of
from postq.cli.printing.terminal import say, show_json


@command("cancel", examples=("postq cancel 7",), exits=(4, 5, *ON_DATABASE))
def cancel(ctx: typer.Context, *, job: options.JobNumber, json: options.Json = False) -> None:
    """Stop a job that has not ended; what it has already stored stays.

    What waits is cancelled at once. What runs stops at its worker's next sign of life, seconds later.
    """
    from postq.db import database_now
    from postq.jobs.cancel import cancel as ask_to_end
    from postq.models import JobState

    invocation = invocation_of(ctx)
    with invocation.database.transaction() as session:
        state = ask_to_end(session, job, now=database_now(session), settings=invocation.settings)
    if json:
        show_json({"job": job, "state": state.value})
    elif state is JobState.CANCELLED:
        say(f"Job {job} is cancelled.")
    else:
        say(f"Job {job} is being cancelled: its workers stop within seconds.")
