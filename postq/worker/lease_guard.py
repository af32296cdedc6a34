"""The clock over a lease: ends the runner when it ran out, even while the database does not answer."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self


class LeaseGuard:
    """Calls `expire` once if no renewal was told for a whole lease, from a thread of its own.

    A statement sent to a frozen server returns when the server thaws and not before, so the thread that
    renews the lease cannot also be the one that notices it ran out.
    """

    def __init__(
        self, expire: Callable[[], None], *, lease_seconds: float, used_seconds: float = 0.0
    ) -> None:
        self._expire = expire
        self._lease_seconds = lease_seconds
        self._changed = threading.Condition()
        self._until = time.monotonic() + lease_seconds - used_seconds
        self._over = False
        self.expired = False
        self._thread = threading.Thread(target=self._watch, name="lease-guard", daemon=True)

    def renewed(self, *, sent_at: float) -> None:
        """Tell of a renewal that succeeded; it counts from when it was sent (monotonic seconds)."""
        with self._changed:
            self._until = sent_at + self._lease_seconds
            self._changed.notify()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()
        self._thread.join()

    def _watch(self) -> None:
        with self._changed:
            while not self._over and (left := self._until - time.monotonic()) > 0:
                self._changed.wait(left)
            self.expired = not self._over
        if self.expired:
            self._expire()
