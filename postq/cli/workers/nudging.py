"""Hinting to the workers that there is work."""

from postq.cli.invocation import Invocation
from postq.cli.printing.terminal import note


def nudge_workers(invocation: Invocation, device_kind: str) -> None:
    """Hint that there is work; say so when the broker does not take the hint."""
    if invocation.settings.embedded_broker:
        return  # workers of the embedded broker poll; publishing needs a costly import
    from postq.nudges import nudge

    invocation.set_logging_up(invocation.settings)
    if not nudge(invocation.settings, device_kind=device_kind):
        note("The broker does not answer. The job is stored; workers find it by polling the database.")
