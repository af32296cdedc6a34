"""`postq prune`: forget jobs that ended long ago, and folders of bundles that no row names."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import Invocation, invocation_of
from postq.cli.printing.column import Column
from postq.cli.printing.listing import Listing
from postq.cli.printing.terminal import note, say
from postq.cli.printing.wording import clock, short_path
from postq.counted import counted

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from postq.jobs.prune import OldJob

LISTING: "Listing[OldJob]" = Listing(
    name="prune",
    empty="No job ended before that.",
    columns=(
        Column(key="job", meaning="number", value=lambda old: old.job_id, heading="Job", right=True),
        Column(key="kind", meaning="kind of job", value=lambda old: old.kind.value, heading="Kind"),
        Column(
            key="name", meaning="what it worked on", value=lambda old: old.name, heading="Name", flexible=True
        ),
        Column(
            key="finished_at",
            meaning="when it ended",
            value=lambda old: old.finished_at,
            heading="Ended",
            cell=lambda old: clock(old.finished_at),
        ),
        Column(
            key="predictions",
            meaning="predictions it stored",
            value=lambda old: old.predictions,
            heading="Predictions",
            right=True,
        ),
        Column(
            key="kept",
            meaning="why it stays, empty when it can be forgotten",
            value=lambda old: old.kept,
            heading="Stays because",
            flexible=True,
            style=lambda old: "dim",
        ),
    ),
)


@command(
    "prune",
    examples=("postq prune --before 90d", "postq prune --before 2026-01-01 --kind classify --yes"),
    exits=(3, *ON_DATABASE),
)
def prune(
    ctx: typer.Context,
    *,
    before: Annotated[
        str,
        typer.Option(
            metavar="AGE|DATE",
            help="Ended longer ago than 90d, 12h or 8w, or before a date.",
            show_default=False,
        ),
    ],
    kind: Annotated[
        Literal["train", "evaluate", "classify"] | None,
        typer.Option(help="Only jobs of this kind.", show_default=False),
    ] = None,
    yes: Annotated[
        bool, options.switch("--yes", help="Forget them; without it they are only listed.")
    ] = False,
    json: options.Json = False,
) -> None:
    """List the jobs that ended before a time, and with --yes forget them.

    With a job go its predictions, events, attempts and checkpoints; corpora and bundles stay. A job stays
    when a later one came after it, or when a schedule builds on its predictions. Unless --kind is given,
    folders of bundles/ go too that no bundle names and that are as old, such as a crash leaves at the end of
    a training. There is no way back.
    """
    from postq.contracts.specs import JobKind
    from postq.db import database_now
    from postq.jobs.prune import old_jobs
    from postq.registry.bundle_place import unnamed_folders

    invocation = invocation_of(ctx)
    home = invocation.settings.home
    with invocation.database.reading() as session:
        now = database_now(session)
        moment = _moment(before, now=now)
        kinds = (JobKind(kind),) if kind else tuple(JobKind)
        found = old_jobs(session, before=moment, kinds=kinds)
        folders = [] if kind else unnamed_folders(session, home=home, before=moment, now=now)
    LISTING.show(found, json=json)
    going = [old.job_id for old in found if not old.kept]
    if not yes:
        _tell_what_would_go(going, folders)
        return
    _forget(invocation, going)
    _sweep(invocation, folders)


def _moment(text: str, *, now: "datetime") -> "datetime":
    from postq.cli.printing.wording import parse_moment
    from postq.errors import BadInput

    try:
        return parse_moment(text, now=now)
    except ValueError as exc:
        raise BadInput(
            f"'{text}' is neither an age nor a date.",
            hint="Write 90d, 12h, 8w, or a date such as 2026-01-31.",
        ) from exc


def _tell_what_would_go(job_ids: Sequence[int], folders: "Sequence[Path]") -> None:
    if job_ids:
        note(f"{counted(len(job_ids), 'job')} would be forgotten; add --yes to do it.")
    for folder in folders:
        note(f"{short_path(folder)}, which no bundle names, would be removed; add --yes to do it.")


def _forget(invocation: Invocation, job_ids: list[int]) -> None:
    """Later jobs first, since earlier ones may be named by them; each in a transaction of its own."""
    from postq.database_tag import database_tag
    from postq.jobs.prune import clear_files, forget_job, sweep_predictions

    home = invocation.settings.home
    for job_id in sorted(job_ids, reverse=True):
        with invocation.database.transaction() as session:
            tag = database_tag(session, home=home)
            shards = forget_job(session, job_id)
        clear_files(home, tag=tag, job_id=job_id, shards=shards)
    swept = 0
    while True:
        with invocation.database.transaction() as session:
            done = sweep_predictions(session)
        if not done:
            break
        swept += done
    say(f"Forgot {counted(len(job_ids), 'job')} and {counted(swept, 'prediction')}.")


def _sweep(invocation: Invocation, folders: "Sequence[Path]") -> None:
    from postq.registry.bundle_place import sweep_unnamed

    swept = sweep_unnamed(invocation.database, folders, home=invocation.settings.home)
    if swept:
        say(f"Removed {counted(swept, 'folder')} that no bundle names.")
