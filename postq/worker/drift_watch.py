"""The worker's drift watch: each scheduled classification that has ended is compared once."""

from collections.abc import Callable

import structlog

from postq.db import Database, database_now
from postq.errors import DatabaseUnavailable, PostqError
from postq.settings import Settings

_log = structlog.get_logger()

AT_ONCE = 10
"""Most jobs of one round, so that the worker can stop in between."""


class DriftWatch:
    """Compares without a lock, however long that takes; any number of workers may, the first one tells."""

    def __init__(self, *, database: Database, settings: Settings, should_stop: Callable[[], bool]) -> None:
        self._database = database
        self._settings = settings
        self._should_stop = should_stop

    def run_once(self) -> None:
        """Compare what waits for it, oldest first."""
        from postq.jobs.drift_watch import next_unwatched

        for _ in range(AT_ONCE):
            if self._should_stop():
                return
            with self._database.reading() as session:
                job_id = next_unwatched(session, now=database_now(session))
            if job_id is None:
                return
            self._watch(job_id)

    def _watch(self, job_id: int) -> None:
        from postq.jobs.drift import measure_drift
        from postq.jobs.drift_watch import note_drift, note_unknown
        from postq.learning.hooks import StopRequested

        try:
            with self._database.reading() as session:
                measured = measure_drift(
                    session, job_id, home=self._settings.home, should_stop=self._should_stop
                )
        except StopRequested:
            return
        except DatabaseUnavailable:
            raise
        except PostqError as exc:
            with self._database.transaction() as session:
                note_unknown(session, job_id, f"{exc.message} {exc.hint}", now=database_now(session))
            return
        with self._database.transaction() as session:
            note_drift(session, measured, now=database_now(session))
        if measured.drift.alarms:
            _log.warning("A scheduled job drifts.", job=job_id, alarms=len(measured.drift.alarms))
