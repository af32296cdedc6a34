"""`postq up`: one worker per device of this machine, kept running until told to stop."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import Invocation, invocation_of

if TYPE_CHECKING:
    from postq.cli.fleet.fleet import Place


@command(
    "up",
    examples=("postq up", "postq up --cpu-workers 2", "postq up --devices together", "postq up --until-idle"),
    exits=ON_DATABASE,
)
def up(
    ctx: typer.Context,
    *,
    cpu_workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=64,
            metavar="N",
            help="CPU workers besides one per accelerator; by default 1 where there is no accelerator.",
            show_default=False,
        ),
    ] = None,
    devices: Annotated[
        Literal["each", "together"],
        typer.Option(help="A worker for each accelerator, or one that owns all of a kind together."),
    ] = "each",
    until_idle: Annotated[
        bool, options.switch("--until-idle", help="Tell how jobs go, and stop when all have ended.")
    ] = False,
) -> None:
    """Start one worker per device found and keep them running.

    With `--devices together` one worker owns all CUDA devices, for `submit-train --devices all`; other
    work it runs on the first of them alone. A worker that crashes is started again, waiting longer each
    time. SIGTERM and Ctrl-C drain all of them: work in hand is finished or checkpointed and given back.
    Each worker has a log file.
    """
    from postq.cli.fleet.course import course_of_jobs
    from postq.cli.fleet.fleet import Fleet
    from postq.cli.workers.living import warn_of_neighbours

    invocation = invocation_of(ctx)
    fleet = Fleet(
        places=_places(cpu_workers, together=devices == "together", tag=_tag(invocation)),
        environment=invocation.environment(),
        logs=None if invocation.verbose else invocation.settings.home / "logs",
        drain_seconds=invocation.settings.drain_seconds,
    )
    warn_of_neighbours(invocation.database, invocation.settings)
    if not until_idle:
        fleet.run(until=None)
        return
    with course_of_jobs(invocation) as all_ended:
        fleet.run(until=all_ended)


def _tag(invocation: Invocation) -> str:
    from postq.database_tag import database_tag

    with invocation.database.reading() as session:
        return database_tag(session, home=invocation.settings.home)


def _places(cpu_workers: int | None, *, together: bool, tag: str) -> "tuple[Place, ...]":
    from postq.cli.fleet.fleet import Place
    from postq.devices import joined, worthwhile_devices
    from postq.errors import DeviceUnavailable

    found = [device for device in worthwhile_devices() if device.kind != "cpu"]
    if together and found:
        found = [joined(found)]
    accelerators = [device.label for device in found]
    wanted = cpu_workers if cpu_workers is not None else int(not accelerators)
    labels = [*accelerators, *["cpu"] * wanted]
    if not labels:
        raise DeviceUnavailable(
            "No worker would be started: this machine has no accelerator and --cpu-workers is 0.",
            hint="Leave --cpu-workers out, or give at least 1.",
        )
    return tuple(Place(number=number, device=label, tag=tag) for number, label in enumerate(labels, start=1))
