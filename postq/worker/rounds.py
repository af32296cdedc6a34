"""A loop beside the work: the same act every so often, and at once when woken; failures never end it."""

import threading
from collections.abc import Callable

import structlog

from postq.worker.backoff import Backoff, jittered
from postq.worker.outages import is_outage

_log = structlog.get_logger()


class Rounds:
    """Repeats one act in a thread until stopped."""

    def __init__(self, name: str, act: Callable[[], None], *, every_seconds: float) -> None:
        self._name = name
        self._act = act
        self._every_seconds = every_seconds
        self._woken = threading.Event()
        self._stopping = False
        self._backoff = Backoff()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin, with the first act at once."""
        self._thread.start()

    def wake(self) -> None:
        """Act again soon: something changed."""
        self._woken.set()

    def stop(self) -> None:
        """Stop after the act in hand."""
        self._stopping = True
        self._woken.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            self._woken.clear()
            pause = self._act_once()
            self._woken.wait(pause)

    def _act_once(self) -> float:
        """Act; returns for how long to wait then."""
        try:
            self._act()
        except Exception as exc:
            seconds = self._backoff.next_seconds()
            reason = {"reason": str(exc)} if is_outage(exc) else {"exc_info": exc}
            _log.warning("A round of maintenance failed and is tried again.", round=self._name, **reason)
            return seconds
        self._backoff.reset()
        return jittered(self._every_seconds)
