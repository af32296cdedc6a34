"""`postq worker`: become one worker on one device, or ask whether this machine has a living one."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import Invocation, invocation_of

if TYPE_CHECKING:
    pass


@command(
    "worker",
    examples=(
        "postq worker",
        "postq worker --device cuda:0",
        "postq worker --device cuda:all",
        "postq worker --ping",
    ),
    exits=(4, *ON_DATABASE),
)
def worker(
    ctx: typer.Context,
    *,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE",
            help="cpu, mps, cuda, cuda:N, or several at once: cuda:all, cpu:N (N processes). "
            "By default the best one this machine has.",
            show_default=False,
        ),
    ] = None,
    ping: Annotated[
        bool,
        options.switch("--ping", help="Health check: exit 0 if a worker of this machine is alive, else 4."),
    ] = False,
) -> None:
    """Run one worker on one device, in the foreground.

    SIGTERM and Ctrl-C drain it: the batch in hand is finished or a checkpoint written, and the shard is
    given back uncounted. A worker that owns several devices trains encoders on all of them where a job asks
    for it (`submit-train --devices all`); other work runs on the first. Use `postq up` for one worker per
    device.
    """
    invocation = invocation_of(ctx)
    if ping:
        _ping(invocation)
        return
    _become_worker(invocation, device)


def _become_worker(invocation: Invocation, device: str | None) -> None:
    """Replace this process, so that signals and exit codes are the worker's own."""
    from postq.devices import parse_device, worthwhile_devices

    chosen = parse_device(device) if device else worthwhile_devices()[0]
    invocation.database.dispose()  # a wrong database is told here, in one sentence
    command_line = [sys.executable, "-m", "postq.worker", "--device", chosen.label]
    sys.stdout.flush()
    os.execve(sys.executable, command_line, invocation.environment())  # noqa: S606  (no shell is wanted)


def _ping(invocation: Invocation) -> None:
    from postq.cli.printing.terminal import show
    from postq.cli.workers.living import workers_here
    from postq.errors import NotFound

    here = workers_here(invocation.database, invocation.settings)
    if not here:
        raise NotFound(
            "No worker of this machine has shown life lately.",
            hint="Start one with `postq worker` or `postq up`.",
        )
    found = here[0]
    show(f"alive: {found.device_kind} worker, {found.state}, process {found.pid}")
