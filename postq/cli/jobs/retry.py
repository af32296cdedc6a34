"""`postq retry`: give a failed or cancelled job another chance."""

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import invocation_of
from postq.cli.printing.terminal import say, show_json
from postq.cli.workers.nudging import nudge_workers


@command("retry", examples=("postq retry 7",), exits=(4, 5, *ON_DATABASE))
def retry(ctx: typer.Context, *, job: options.JobNumber, json: options.Json = False) -> None:
    """Run a failed or cancelled job again: what is done stays done, the rest starts afresh."""
    from postq.cli.workers.living import warn_if_nobody_works
    from postq.db import database_now
    from postq.jobs.retry import retry_job
    from postq.models import Job

    invocation = invocation_of(ctx)
    with invocation.database.transaction() as session:
        state = retry_job(session, job, now=database_now(session), settings=invocation.settings)
        device_kind = session.get_one(Job, job).device_kind
    nudge_workers(invocation, device_kind)
    if json:
        show_json({"job": job, "state": state.value})
    else:
        say(f"Job {job} is {state.value} again.")
    warn_if_nobody_works(invocation.database, invocation.settings)
