"""`postq verify`: prove from rows and files that a job kept its promises, and print its result digest."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import Invocation, invocation_of
from postq.cli.terminal import show, show_json
from postq.errors import IntegrityError

if TYPE_CHECKING:
    from postq.jobs.verify import Verification


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the database says of a job, and what the disk says of its bundle."""

    rows: "Verification"
    bundle: int | None
    """Number of the bundle the job used or made; None when there is none yet."""
    bundle_digest: str | None
    folder_problems: tuple[str, ...]

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that is wrong, a sentence each."""
        return (*self.rows.problems, *self.folder_problems)


@command("verify", examples=("postq verify 7", "postq verify 7 --json"), exits=(4, 8, *ON_DATABASE))
def verify(ctx: typer.Context, *, job: options.JobNumber, json: options.Json = False) -> None:
    """Prove that a job kept its promises, and print the digest of its result.

    Checks that every document is predicted, quarantined or skipped exactly once, that no stored row got
    past a fence, that every change of state was a legal one, and that each file of the bundle is the one
    its manifest describes. Equal digests mean equal results, whatever crashed on the way.
    """
    verdict = _judge(invocation_of(ctx), job)
    if json:
        show_json(_as_json(verdict))
    else:
        from postq.cli.verify_page import verify_page

        show(verify_page(verdict))
    if verdict.problems:
        raise IntegrityError(
            f"Job {job} does not stand up to verification: {verdict.problems[0]}.",
            hint="Do not rely on its results; find the cause in the logs, mend it, and run the job anew.",
        )


def _judge(invocation: Invocation, job_id: int) -> Verdict:
    from postq.jobs.verify import verify_job
    from postq.models import BundleRow, Job
    from postq.registry.bundle_folders import folder_problems

    with invocation.database.reading() as session:
        rows = verify_job(session, job_id)
        bundle_id = session.get_one(Job, job_id).bundle_id
        bundle = session.get_one(BundleRow, bundle_id) if bundle_id is not None else None
    return Verdict(
        rows=rows,
        bundle=bundle_id,
        bundle_digest=bundle.digest if bundle else None,
        folder_problems=folder_problems(bundle, home=invocation.settings.home) if bundle else (),
    )


def _as_json(verdict: Verdict) -> dict[str, Any]:
    rows = verdict.rows
    return {
        "job": rows.job_id,
        "kind": rows.kind.value,
        "state": rows.state.value,
        "verified": not verdict.problems,
        "coverage_checked": rows.coverage_checked,
        "problems": list(verdict.problems),
        "documents": {
            "total": rows.documents,
            "predicted": rows.predicted,
            "quarantined": rows.quarantined,
            "skipped": rows.skipped,
        },
        "bundle": verdict.bundle,
        "bundle_digest": verdict.bundle_digest,
        "digest": rows.digest,
    }
