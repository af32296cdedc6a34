"""`postq verify`: prove from rows and files that a job kept its promises, and print its result digest."""

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import invocation_of
from postq.cli.jobs.verdict import as_json, judge
from postq.cli.printing.terminal import show, show_json
from postq.errors import IntegrityError


@command("verify", examples=("postq verify 7", "postq verify 7 --json"), exits=(4, 8, *ON_DATABASE))
def verify(ctx: typer.Context, *, job: options.JobNumber, json: options.Json = False) -> None:
    """Prove that a job kept its promises, and print the digest of its result.

    Checks that every document is predicted, quarantined or skipped exactly once, that no stored row got
    past a fence, that every change of state was a legal one, and that each file of the bundle is the one
    its manifest describes. Equal digests mean equal results, whatever crashed on the way.
    """
    verdict = judge(invocation_of(ctx), job)
    if json:
        show_json(as_json(verdict))
    else:
        from postq.cli.jobs.verify_page import verify_page

        show(verify_page(verdict))
    if verdict.problems:
        raise IntegrityError(
            f"Job {job} does not stand up to verification: {verdict.problems[0]}.",
            hint="Do not rely on its results; find the cause in the logs, mend it, and run the job anew.",
        )
