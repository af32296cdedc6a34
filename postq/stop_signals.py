"""The signals that ask a process to end in good order, and which of them insist when they come again."""

import signal
from collections.abc import Iterator


def stop_signals() -> Iterator[signal.Signals]:
    """SIGTERM, SIGINT, and the SIGHUP of a terminal that closes, unless `nohup` had it ignored."""
    yield signal.SIGTERM
    yield signal.SIGINT
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        yield signal.SIGHUP


def insists(sign: int) -> bool:
    """Whether this signal, coming after another, means "at once".

    A terminal that closes may hang up twice by itself, once through its shell and once through the kernel.
    """
    return sign != signal.SIGHUP
