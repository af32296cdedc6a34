"""What the rows say of a job and the files of its bundle, put together for `postq verify`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from postq.cli.invocation import Invocation

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


def judge(invocation: Invocation, job_id: int) -> Verdict:
    """Read the job's rows and hash its bundle's files. Raises NotFound."""
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


def as_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict with its documented keys."""
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
