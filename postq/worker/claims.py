"""Claiming for one worker: the next shard, and at most one more while the one in hand is nearly done."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from postq.contracts.device import Device
from postq.db import Database, database_now
from postq.jobs.claims import anything_ready, claim
from postq.jobs.leases import Lease, release
from postq.settings import Settings
from postq.worker.nudging import Nudging
from postq.worker.outages import is_outage

ASIDE_SECONDS = 600.0
"""After so long a worker tries a job again that it could not do: what was missing may be there."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A lease and when it began to run, in monotonic seconds, or a moment before."""

    lease: Lease
    at: float


class Claims:
    """What this worker has claimed and nobody works on yet. Used by the dispatcher's thread alone."""

    def __init__(
        self,
        *,
        database: Database,
        settings: Settings,
        worker_id: str,
        device: Device,
        loaded: Callable[[], str],
        nudging: Nudging,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._settings = settings
        self._worker_id = worker_id
        self._device = device
        self._loaded = loaded
        self._nudging = nudging
        self._clock = clock
        self._held: Claimed | None = None
        self._aside: dict[int, float] = {}

    def leave_aside(self, job_id: int) -> None:
        """Let other workers have this job's shards: this one has seen that it cannot do them."""
        self._aside[job_id] = self._clock() + ASIDE_SECONDS

    def take(self) -> Claimed | None:
        """The shard to work on now: the one held, or a new one; None when nothing fits.

        One that was held for long is given back instead: its lease might run out before it is renewed.
        """
        if self.held_seconds > self._settings.renew_seconds:
            self.give_back(reason="it was not begun in time")
            return self._claim()
        held, self._held = self._held, None
        return held or self._claim()

    def hold(self) -> Lease | None:
        """Claim a shard ahead, for `take`; None when nothing fits. At most one is held."""
        if self._held is None:
            self._held = self._claim()
        return self._held.lease if self._held is not None else None

    @property
    def held_seconds(self) -> float:
        """For how long a shard has been held; 0 when none is."""
        return 0.0 if self._held is None else self._clock() - self._held.at

    def give_back(self, *, reason: str) -> bool:
        """Let another worker have the shard that is held, if there is one; no attempt is counted.

        While the database is away it stays held, and the answer is False. Where it cannot be given back at
        all, its lease runs out, as if this worker had died.
        """
        if self._held is None:
            return True
        try:
            with self._database.transaction() as session:
                now, lease = database_now(session), self._held.lease
                release(session, lease, now=now, settings=self._settings, reason=reason)
        except Exception as exc:
            if is_outage(exc):
                _log.warning("A shard claimed ahead could not be given back yet.", reason=str(exc))
                return False
            _log.exception("A shard claimed ahead could not be given back.")
        self._held = None
        self._nudging.others()
        return True

    def _claim(self) -> Claimed | None:
        self._aside = {job: until for job, until in self._aside.items() if until > self._clock()}
        with self._database.reading() as session:  # a look without locks, since most polls find nothing
            now = database_now(session)
            if not anything_ready(
                session, device=self._device, now=now, settings=self._settings, aside=self._aside
            ):
                return None
        with self._database.transaction() as session:
            session.connection()  # begins, for which SQLite may have to wait
            at = self._clock()
            lease = claim(
                session,
                worker_id=self._worker_id,
                device=self._device,
                sticky=self._loaded(),
                now=database_now(session),
                settings=self._settings,
                aside=self._aside,
            )
        return None if lease is None else Claimed(lease=lease, at=at)
