"""Looking ahead: while a classification is nearly done, the shard that follows is claimed and read.

Otherwise a device stands still between two shards: for a claim, for reading the corpus, for the first
tokens. The faster it is, the larger a part of its time that is.
"""

import time
from collections.abc import Callable

import structlog

from postq.contracts.runner import Progress
from postq.contracts.specs import JobKind
from postq.crash_points import CrashPoint, reach
from postq.jobs.leases import Lease
from postq.settings import Settings
from postq.worker.claims import Claims
from postq.worker.outages import is_outage

AHEAD_SECONDS = 1.0
"""With less than this to go the next shard is claimed; another worker might have begun it as much earlier."""

_log = structlog.get_logger()


class LookAhead:
    """Listens to one attempt's progress, claims one shard when it is time, and has it prepared.

    A document that ends the runner while it is read ahead is blamed on the wrong shard. So a shard that has
    failed before, or is a single document, is not read ahead, and nothing is read ahead beside it.
    """

    def __init__(
        self,
        lease: Lease,
        *,
        claims: Claims,
        settings: Settings,
        may_claim: Callable[[], bool],
        prepare: Callable[[Lease], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._claims = claims
        self._settings = settings
        self._may_claim = may_claim
        self._prepare = prepare
        self._clock = clock
        self._wanted = lease.kind is JobKind.CLASSIFY and _spotless(lease) and settings.crash_budget > 1
        self._began: tuple[float, int] | None = None

    def heard(self, progress: Progress) -> None:
        """Claim the shard that follows if by its pace the attempt is nearly done."""
        if not self._wanted or progress.phase != "scoring":
            return
        now = self._clock()
        if self._began is None:
            self._began = now, progress.done
        if self._seconds_left(progress, now) > AHEAD_SECONDS or not self._may_claim():
            return
        self._wanted = False
        try:
            self._claim()
        except Exception as exc:  # the attempt in hand goes on, and the next is claimed after it
            told = {"reason": str(exc)} if is_outage(exc) else {"exc_info": exc}
            _log.warning("The next shard could not be prepared.", **told)

    def give_back_if_late(self) -> None:
        """Called now and then: an attempt that takes longer than thought keeps no shard from others."""
        if self._claims.held_seconds > self._settings.renew_seconds:
            self._claims.give_back(reason="the shard before took longer than thought")

    def _seconds_left(self, progress: Progress, now: float) -> float:
        assert self._began is not None
        then, before = self._began
        done, left = progress.done - before, progress.total - progress.done
        return (now - then) * left / done if done > 0 and left > 0 else float("inf")

    def _claim(self) -> None:
        lease = self._claims.hold()
        if lease is None:
            return
        reach(CrashPoint.CLAIMED_AHEAD)
        _log.info("The next shard was claimed.", job=lease.job_id, shard=lease.shard_id, fence=lease.token)
        if lease.kind is JobKind.CLASSIFY and _spotless(lease):
            self._prepare(lease)


def _spotless(lease: Lease) -> bool:
    return lease.attempts == 0 and lease.crashes == 0 and lease.stop_row - lease.start_row > 1
