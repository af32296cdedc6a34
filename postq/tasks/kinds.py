"""The one table from a kind of job to the code that runs it and stores what it brought."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from postq.contracts.runner import RunRequest
from postq.contracts.specs import JobKind
from postq.learning.hooks import Hooks
from postq.tasks.resident import Resident

if TYPE_CHECKING:  # the runner loads this file too and has no use for SQL
    from sqlalchemy.orm import Session

    from postq.jobs.commit import StoredCounts
    from postq.jobs.leases import Lease


def run(request: RunRequest, *, hooks: Hooks, resident: Resident) -> dict[str, Any]:
    """Do the work of one attempt, in the runner; returns the small facts of its result.

    Raises hooks.StopRequested after a clean stop, and whatever the work raises.
    """
    if request.spec.kind is JobKind.TRAIN:
        from postq.tasks import train

        return train.run(request, request.spec, hooks=hooks, resident=resident)
    if request.spec.kind is JobKind.EVALUATE:
        from postq.tasks import evaluate

        return evaluate.run(request, request.spec, hooks=hooks, resident=resident)
    from postq.tasks import classify

    return classify.run(request, request.spec, hooks=hooks, resident=resident)


def store(
    session: "Session", lease: "Lease", result: dict[str, Any], *, folder: Path, home: Path, now: datetime
) -> "StoredCounts":
    """Write what an attempt brought, in the supervisor, inside the fenced transaction of the commit.

    `folder` holds the attempt's result files. Running it again after a rollback does the same again.
    """
    if lease.kind is JobKind.TRAIN:
        from postq.tasks import train

        return train.store(session, lease, result, folder=folder, home=home, now=now)
    if lease.kind is JobKind.EVALUATE:
        from postq.tasks import evaluate

        return evaluate.store(session, lease, result, folder=folder)
    from postq.tasks import classify

    return classify.store(session, lease, result, folder=folder)
