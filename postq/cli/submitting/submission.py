"""What the submit commands share: storing the job, nudging, saying what happened, waiting."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from postq.cli.invocation import Invocation
from postq.cli.printing.terminal import note, say, show_json
from postq.cli.workers.nudging import nudge_workers
from postq.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from postq.contracts.specs import JobSpec, Requirements

EXAMPLE_EXITS = (3, 4, 5, 6, 7, 10, 11, 12)
"""Exit codes every submit command can end with."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """When and where the job may run."""

    device_kind: str
    memory: str | None
    priority: int
    after: int | None
    idempotency_key: str | None

    def requirements(self) -> "Requirements":
        """What the job needs of a device; BadInput for a size that is none."""
        return needs(self.device_kind, self.memory)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How the user wants to be told."""

    wait: bool
    json: bool
    quiet: bool


def needs(device_kind: str, memory: str | None) -> "Requirements":
    """What a job needs of a device; BadInput for a size that is none."""
    from postq.contracts.specs import Requirements

    return Requirements.model_validate({"device_kind": device_kind, "memory_bytes": _bytes(memory)})


def submit_and_tell(
    invocation: Invocation,
    make_spec: "Callable[[Session], JobSpec]",
    *,
    placement: Placement,
    answer: Answer,
) -> None:
    """Store the job in one transaction, hint to the workers, tell its number, and wait when asked to.

    `make_spec` runs inside that transaction: what it resolves by name cannot change under it.
    """
    from postq.crash_points import CrashPoint, reach
    from postq.db import database_now
    from postq.jobs.submit import submit

    requirements = placement.requirements()
    with invocation.database.transaction() as session:
        submitted = submit(
            session,
            make_spec(session),
            now=database_now(session),
            requirements=requirements,
            priority=placement.priority,
            after_job_id=placement.after,
            idempotency_key=placement.idempotency_key,
            settings=invocation.settings,
        )
    reach(CrashPoint.AFTER_SUBMIT)
    if submitted.note:
        note(submitted.note)
    tell_submitted(
        invocation,
        submitted.job_id,
        created=submitted.created,
        device_kind=placement.device_kind,
        answer=answer,
    )


def tell_submitted(
    invocation: Invocation, job_id: int, *, created: bool, device_kind: str, answer: Answer
) -> None:
    """Tell the job's number, hint to the workers, say when there are none, and wait when asked to."""
    from postq.cli.jobs.filter import JobFilter
    from postq.cli.jobs.listing import has_ended
    from postq.cli.workers.living import warn_if_nobody_works

    _tell(job_id, created=created, answer=answer)
    view = JobFilter(job=job_id).ask(invocation)[0]
    if not has_ended(view):
        if created:
            nudge_workers(invocation, device_kind)
        warn_if_nobody_works(invocation.database, invocation.settings)
    elif not answer.wait:
        say(f"It has {view.state.value.replace('_', ' ')}: {view.reason}.")
    if answer.wait:
        _wait(invocation, job_id, answer=answer)


def _tell(job_id: int, *, created: bool, answer: Answer) -> None:
    if answer.json and not answer.wait:
        show_json({"job": job_id, "created": created})
    elif answer.quiet or not answer.wait:
        typer.echo(job_id if answer.quiet else f"Submitted job {job_id}." if created else f"Job {job_id}.")
    else:
        say(f"Submitted job {job_id}." if created else f"Job {job_id}.")
    if not created:
        note(f"Job {job_id} was submitted before with this key; no second one was made.")


def _wait(invocation: Invocation, job_id: int, *, answer: Answer) -> None:
    from postq.cli.jobs.watching import wait_for_job

    raise typer.Exit(wait_for_job(invocation, job_id, json=answer.json))


def _bytes(text: str | None) -> int:
    from postq.cli.printing.wording import parse_size

    try:
        return parse_size(text) if text else 0
    except ValueError as exc:
        raise BadInput(f"'{text}' is not a size.", hint="Write it as 24GB, 512MB or 1.5GiB.") from exc
