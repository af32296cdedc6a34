"""Nudging other workers beside the work: a broker that does not answer holds nobody up."""

import threading

from postq.nudges import nudge
from postq.settings import Settings

LAST_SECONDS = 3.0
"""How long a worker that ends waits for its last nudge."""


class Nudging:
    """Sends nudges in a thread of its own, one at a time; those asked for meanwhile are one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._wanted = False
        self._thread: threading.Thread | None = None

    def others(self) -> None:
        """What was made ready (dependents, halves of a split, a shard given back) may fit any worker."""
        if self._settings.embedded_broker:
            return
        with self._lock:
            self._wanted = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._send, name="nudging", daemon=True)
                self._thread.start()

    def wait(self, seconds: float = LAST_SECONDS) -> None:
        """Return once nothing is left to send, or after so long: nothing depends on it."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _send(self) -> None:
        while self._take():
            nudge(self._settings, device_kind="any")

    def _take(self) -> bool:
        """Whether a nudge is wanted, which the caller then sends; the thread ends where none is."""
        with self._lock:
            wanted, self._wanted = self._wanted, False
            if not wanted:
                self._thread = None
            return wanted
