"""The loop that does all the work of a worker: claim, see through, again, until nothing fits; then wait."""

import threading
import time
from collections.abc import Callable

import structlog

from postq.settings import Settings
from postq.worker.backoff import Backoff, jittered
from postq.worker.claims import Claimed, Claims
from postq.worker.outages import is_outage
from postq.worker.storing import Store, Storing

BROKER_POLL_FACTOR = 5.0
"""With a broker, polling is only the net under lost nudges, so it is this much rarer."""

_log = structlog.get_logger()


class Dispatcher:
    """Claims shards and has them seen through, one at a time, until it is told to drain.

    `see_through` may leave the storing of a result to be done: it is, beside the next attempt. The next shard
    is claimed first, since SQLite would let the claim wait for the storing.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        claims: Claims,
        storing: Storing,
        see_through: Callable[[Claimed], Store | None],
        while_idle: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._claims = claims
        self._see_through = see_through
        self._while_idle = while_idle
        self._on_change = on_change
        self._changed = threading.Condition()
        self._wanted = 0  # how many times somebody asked to look for work
        self._looked = 0  # up to which of these nothing was left to claim
        self._drain = threading.Event()
        self._backoff = Backoff()
        self._storing = storing
        self.shard_id: int | None = None

    @property
    def draining(self) -> bool:
        """True once the worker was asked to end."""
        return self._drain.is_set()

    def drain(self) -> None:
        """Take no more work and end the one in hand in good order."""
        self._drain.set()
        with self._changed:
            self._changed.notify_all()
        self._on_change()

    def look_again(self) -> None:
        """Look for work soon: something changed."""
        with self._changed:
            self._wanted += 1
            self._changed.notify_all()

    def nudged(self) -> None:
        """Look for work, and return when nothing is left to claim.

        Returning late is on purpose: while a worker is busy it does not swallow the next nudge, which
        stays in the broker for another worker.
        """
        with self._changed:
            self._wanted += 1
            mine = self._wanted
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._looked >= mine or self.draining)

    def run(self) -> None:
        """Work until drained. No failure of the database, of a job or of our own code ends this loop."""
        while not self.draining:
            try:
                self._work_until_idle()
                self._backoff.reset()
                self._while_idle()
            except Exception as exc:
                self._pause_after(exc)
                continue
            self._wait_for_work()
        with self._changed:
            self._changed.notify_all()

    def _work_until_idle(self) -> None:
        unstored: Store | None = None
        try:
            while not self.draining:
                with self._changed:
                    wanted = self._wanted
                self._storing.wait()  # before the claim: nobody renews a lease that waits for its attempt
                claimed = self._claims.take()
                if claimed is None and unstored is None:
                    self._nothing_left(wanted)
                    return
                if unstored is not None:
                    self._storing.begin(unstored)
                    unstored = None
                if claimed is not None:
                    unstored = self._work_on(claimed)
        finally:
            if unstored is not None:
                self._storing.begin(unstored)
            if self.draining:
                self._give_back()
            self._storing.wait()
            self._show(None)

    def _give_back(self) -> None:
        """What was claimed ahead; while the database is away, tried for as long as a drain may last."""
        backoff, until = Backoff(), time.monotonic() + self._settings.drain_seconds
        while not self._claims.give_back(reason="worker drains") and time.monotonic() < until:
            time.sleep(backoff.next_seconds())

    def _work_on(self, claimed: Claimed) -> Store | None:
        self._show(claimed.lease.shard_id)
        return self._see_through(claimed)

    def _show(self, shard_id: int | None) -> None:
        if shard_id != self.shard_id:
            self.shard_id = shard_id
            self._on_change()

    def _nothing_left(self, wanted: int) -> None:
        _log.debug("Nothing is left to claim.")
        with self._changed:
            self._looked = wanted
            self._changed.notify_all()

    def _wait_for_work(self) -> None:
        factor = 1.0 if self._settings.embedded_broker else BROKER_POLL_FACTOR
        with self._changed:
            self._changed.wait_for(
                lambda: self._wanted > self._looked or self.draining,
                timeout=jittered(self._settings.poll_seconds * factor),
            )

    def _pause_after(self, exc: Exception) -> None:
        seconds = self._backoff.next_seconds()
        if is_outage(exc):
            _log.warning("The database is away; looking again soon.", reason=str(exc), seconds=seconds)
        else:
            _log.error("The dispatcher met an error and goes on.", exc_info=exc, seconds=seconds)
        self._drain.wait(seconds)
