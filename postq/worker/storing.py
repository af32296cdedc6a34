"""Storing a result beside the next attempt, so that the device does not wait for the database."""

import threading
from collections.abc import Callable

import structlog

_log = structlog.get_logger()

Store = Callable[[], None]
"""What is left to do of an attempt whose runner is done."""


class Storing:
    """Stores one result in a thread of its own; never two at once."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def begin(self, store: Store) -> None:
        """Store while the caller goes on."""
        self.wait()
        self._thread = threading.Thread(target=_outlived, args=(store,), name="storing")
        self._thread.start()

    @property
    def busy(self) -> bool:
        """True while a result is being stored."""
        return self._thread is not None and self._thread.is_alive()

    def wait(self) -> None:
        """Return once nothing is being stored."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None


def _outlived(store: Store) -> None:
    try:
        store()
    except Exception:  # the lease runs out, and the shard is tried again
        _log.exception("A result could not be dealt with.")
