"""`postq schedule`: classify what is new in a corpus at set times."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command, group
from postq.cli.invocation import invocation_of
from postq.cli.printing.column import Column
from postq.cli.printing.listing import Listing
from postq.cli.printing.terminal import note, say, show_json
from postq.cli.workers.living import warn_if_nobody_fires

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from postq.jobs.schedules import ScheduleView
    from postq.models import Schedule

LISTING: "Listing[ScheduleView]" = Listing(
    name="schedule list",
    empty="There are no schedules yet; add one with `postq schedule add`.",
    columns=(
        Column(key="name", meaning="name", value=lambda v: v.schedule.name, heading="Schedule"),
        Column(key="cron", meaning="cron expression", value=lambda v: v.schedule.cron, heading="Cron"),
        Column(key="timezone", meaning="IANA time zone", value=lambda v: v.schedule.timezone),
        Column(
            key="corpus",
            meaning="corpus reference, resolved at each fire",
            value=lambda v: v.schedule.corpus,
            heading="Corpus",
        ),
        Column(
            key="bundle",
            meaning="bundle reference, resolved at each fire",
            value=lambda v: v.schedule.bundle,
            heading="Bundle",
        ),
        Column(
            key="next_slot",
            meaning="when it fires next",
            value=lambda v: v.schedule.next_slot,
            heading="Next",
            cell=lambda v: _next(v),
            style=lambda v: "yellow" if v.schedule.paused else "",
        ),
        Column(key="paused", meaning="true while it does not fire", value=lambda v: v.schedule.paused),
        Column(
            key="device_kind", meaning="kind of device its jobs need", value=lambda v: v.schedule.device_kind
        ),
        Column(
            key="memory_bytes",
            meaning="device memory its jobs need",
            value=lambda v: v.schedule.memory_bytes,
        ),
        Column(key="priority", meaning="lower runs first", value=lambda v: v.schedule.priority),
        Column(
            key="max_tokens_per_batch",
            meaning="tokens in one batch of an encoder, or null",
            value=lambda v: v.schedule.max_tokens_per_batch,
        ),
        Column(
            key="precision",
            meaning="`auto`, `fp32` or `bf16`, or null for what the bundle's recipe says",
            value=lambda v: v.schedule.precision,
        ),
        Column(key="missed", meaning="`coalesce`, `all` or `skip`", value=lambda v: v.schedule.missed.value),
        Column(
            key="overlap", meaning="`skip`, `queue` or `cancel-old`", value=lambda v: v.schedule.overlap.value
        ),
        Column(
            key="last_slot",
            meaning="latest slot dealt with, or null",
            value=lambda v: v.last_fire.slot if v.last_fire else None,
        ),
        Column(
            key="last_outcome",
            meaning="what became of it, or null",
            value=lambda v: v.last_fire.outcome if v.last_fire else None,
            heading="Last",
            cell=lambda v: _last(v),
            flexible=True,
        ),
        Column(
            key="last_state",
            meaning="state its job is in now, or null",
            value=lambda v: v.last_state.value if v.last_state else None,
        ),
        Column(
            key="last_job",
            meaning="its job, or null",
            value=lambda v: v.last_fire.job_id if v.last_fire else None,
            heading="Job",
            right=True,
        ),
    ),
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]


@command(
    "add",
    examples=(
        'postq schedule add nightly --cron "0 2 * * *" --corpus opinions --bundle @production',
        'postq schedule add nightly --cron "0 2 * * *" --corpus opinions --bundle @production --priority 500',
    ),
    exits=(3, 4, 5, *ON_DATABASE),
)
def add(
    ctx: typer.Context,
    *,
    name: Name,
    cron: Annotated[
        str, typer.Option(metavar="CRON", help='Five fields, such as "0 2 * * *".', show_default=False)
    ],
    corpus: Annotated[
        str,
        typer.Option(
            metavar="CORPUS", help="NAME means its newest version at each fire.", show_default=False
        ),
    ],
    bundle: options.BundleOption,
    timezone: Annotated[str, typer.Option("--tz", metavar="ZONE", help="IANA time zone.")] = "UTC",
    missed: Annotated[
        Literal["coalesce", "all", "skip"],
        typer.Option(help="Slots that passed without a worker: fire once, each, or not at all."),
    ] = "coalesce",
    overlap: Annotated[
        Literal["skip", "queue", "cancel-old"],
        typer.Option(help="When the job of the slot before is still going."),
    ] = "skip",
    max_tokens_per_batch: options.MaxTokensPerBatch = None,
    precision: options.Precision = None,
    device_kind: options.DeviceKind = "any",
    memory: options.Memory = None,
    priority: options.Priority = 100,
    json: options.Json = False,
) -> None:
    """Classify what is new in a corpus at set times.

    Workers fire: each slot once, however many there are, and none while there is no worker. A slot is missed
    when none came within five minutes. On a day the clocks change, a time that is skipped fires right after
    the gap, and one that comes twice fires once.
    """
    from postq.cli.submitting.submission import needs
    from postq.db import database_now
    from postq.jobs.schedules import add_schedule
    from postq.models import MissedPolicy, OverlapPolicy

    invocation = invocation_of(ctx)
    with invocation.database.transaction() as session:
        row = add_schedule(
            session,
            name=name,
            cron=cron,
            timezone=timezone,
            corpus=corpus,
            bundle=bundle,
            now=database_now(session),
            requirements=needs(device_kind, memory),
            priority=priority,
            max_tokens_per_batch=max_tokens_per_batch,
            precision=precision,
            missed=MissedPolicy(missed),
            overlap=OverlapPolicy(overlap),
        )
        in_vain = _in_vain(session, row)
    if in_vain:
        note(in_vain)
    _tell_added(row, json=json)
    warn_if_nobody_fires(invocation.database, invocation.settings)


def _in_vain(session: "Session", row: "Schedule") -> str:
    """What the schedule asks of a bundle that does not heed it, as that is now."""
    from postq.jobs.checks import without_effect
    from postq.registry.references import hold_bundle

    return without_effect(row, hold_bundle(session, row.bundle))


def _tell_added(row: "Schedule", *, json: bool) -> None:
    from postq.jobs.schedules import ScheduleView

    if json:
        show_json(LISTING.as_dict(ScheduleView(schedule=row)))
    elif row.next_slot is not None:
        say(f"Schedule {row.name} fires next at {_slot(row)}.")


@command("list", examples=("postq schedule list", "postq schedule list --json"), exits=ON_DATABASE)
def list_all(ctx: typer.Context, *, json: options.Json = False) -> None:
    """List schedules with their next slot and what became of the last one."""
    from postq.jobs.schedules import list_schedules

    invocation = invocation_of(ctx)
    with invocation.database.reading() as session:
        rows = list_schedules(session)
    LISTING.show(rows, json=json)
    if any(not view.schedule.paused for view in rows):
        warn_if_nobody_fires(invocation.database, invocation.settings)


@command("pause", examples=("postq schedule pause nightly",), exits=(4, *ON_DATABASE))
def pause(ctx: typer.Context, *, name: Name) -> None:
    """Stop firing until resumed."""
    from postq.jobs.schedules import pause_schedule

    with invocation_of(ctx).database.transaction() as session:
        pause_schedule(session, name)
    say(f"Schedule {name} is paused.")


@command("resume", examples=("postq schedule resume nightly",), exits=(4, *ON_DATABASE))
def resume(ctx: typer.Context, *, name: Name) -> None:
    """Fire again, from the next slot on."""
    from postq.db import database_now
    from postq.jobs.schedules import resume_schedule

    with invocation_of(ctx).database.transaction() as session:
        row = resume_schedule(session, name, now=database_now(session))
    when = f"; it fires next at {_slot(row)}" if row.next_slot else ""
    say(f"Schedule {name} goes on{when}.")


@command("remove", examples=("postq schedule remove nightly",), exits=(4, *ON_DATABASE))
def remove(ctx: typer.Context, *, name: Name) -> None:
    """Fire no more; jobs already submitted go on."""
    from postq.db import database_now
    from postq.jobs.schedules import remove_schedule

    with invocation_of(ctx).database.transaction() as session:
        remove_schedule(session, name, now=database_now(session))
    say(f"Schedule {name} is removed.")


@command(
    "run-now", examples=("postq schedule run-now nightly --wait",), exits=(4, 5, 10, 11, 12, *ON_DATABASE)
)
def run_now(
    ctx: typer.Context,
    *,
    name: Name,
    wait: options.Wait = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Fire once at once, paused or not; the next slot stays as it is."""
    from postq.cli.submitting.submission import Answer, tell_submitted
    from postq.db import database_now
    from postq.jobs.schedules import run_now as fire
    from postq.models import Job

    invocation = invocation_of(ctx)
    with invocation.database.transaction() as session:
        fired = fire(session, name, now=database_now(session), settings=invocation.settings)
        job_id = fired.job_id or 0
        device_kind = session.get_one(Job, job_id).device_kind
    tell_submitted(
        invocation,
        job_id,
        created=True,
        device_kind=device_kind,
        answer=Answer(wait=wait, json=json, quiet=quiet),
    )


def _next(view: "ScheduleView") -> str:
    if view.schedule.paused:
        return "paused"
    return _without_this_year(_slot(view.schedule))


def _last(view: "ScheduleView") -> str:
    """When the latest slot was, what became of it, and how its job is."""
    if view.last_fire is None:
        return ""
    when = _without_this_year(_on_its_clock(view.schedule, view.last_fire.slot))
    state = f": {view.last_state.value}" if view.last_state else ""
    return f"{when} {view.last_fire.outcome}{state}"


def _without_this_year(moment: str) -> str:
    """`11-28 02:00 UTC`, or all of it where the year is another one."""
    from datetime import UTC, datetime

    return moment.removeprefix(f"{datetime.now(UTC).year}-")


def _slot(row: "Schedule") -> str:
    return _on_its_clock(row, row.next_slot) if row.next_slot else ""


def _on_its_clock(row: "Schedule", moment: "datetime") -> str:
    """A moment on the clock of the schedule's own zone, or in UTC where this machine does not know that."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return f"{moment.astimezone(ZoneInfo(row.timezone)):%Y-%m-%d %H:%M %Z}"
    except ZoneInfoNotFoundError:
        return f"{moment:%Y-%m-%d %H:%M} UTC"


app = group("Classify what is new in a corpus at set times.", add, list_all, pause, resume, remove, run_now)
