"""One attempt from lease to last word: hand it to the runner, watch it, store or book what became of it."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from sqlalchemy.orm import Session

from postq.contracts.device import Device
from postq.contracts.failure import FailureClass
from postq.contracts.runner import Failed, Finished, RunRequest, Stopped
from postq.contracts.specs import JobKind
from postq.crash_points import CrashPoint, reach
from postq.db import Database, database_now
from postq.jobs.commit import StoredCounts, commit
from postq.jobs.leases import Lease, release
from postq.jobs.retries import Action, fail_attempt
from postq.settings import Settings
from postq.tasks import kinds
from postq.worker.backoff import Backoff
from postq.worker.claims import Claimed, Claims
from postq.worker.failures import failed, failure_class
from postq.worker.folders import Folders
from postq.worker.look_ahead import LookAhead
from postq.worker.nudging import Nudging
from postq.worker.outages import is_outage
from postq.worker.requests import make_request
from postq.worker.runner_process import RunnerProcess
from postq.worker.runner_slot import RunnerSlot
from postq.worker.storing import Store, Storing
from postq.worker.watch import Ending, LeaseLost, Watch

_log = structlog.get_logger()


class Supervisor:
    """Sees attempts through on one device; what it knows of a job, and would miss, is in the database."""

    def __init__(
        self,
        *,
        database: Database,
        settings: Settings,
        device: Device,
        slot: RunnerSlot,
        folders: Folders,
        claims: Claims,
        storing: Storing,
        nudging: Nudging,
        draining: Callable[[], bool],
    ) -> None:
        self._database = database
        self._settings = settings
        self._device = device
        self._slot = slot
        self._claims = claims
        self._storing = storing
        self._nudging = nudging
        self._draining = draining
        self._folders = folders
        self._prepared: RunRequest | None = None

    def see_through(self, claimed: Claimed) -> Store | None:
        """Work on a claimed shard until its attempt ended and the database knows, or the lease is lost.

        The scores of a classification are left to be stored by what is returned, in any thread: of all
        results they alone are large and come one after the other.
        """
        lease = claimed.lease
        reach(CrashPoint.AFTER_CLAIM)
        log = _log.bind(job=lease.job_id, shard=lease.shard_id, fence=lease.token)
        log.info("A shard was claimed.", kind=lease.kind.value, attempt=lease.attempts + 1)
        ending = self._run(claimed)
        log.info("The attempt ended.", ending=type(ending).__name__)
        if isinstance(ending, Finished) and lease.kind is JobKind.CLASSIFY:
            return partial(self._close, lease, ending)
        self._close(lease, ending)
        self._keep_or_end_runner(lease, ending)
        return None

    def _close(self, lease: Lease, ending: Ending) -> None:
        self._settle(lease, ending)
        self._folders.drop_output(lease)

    def _run(self, claimed: Claimed) -> Ending:
        """The attempt itself. An error on our own side fails it like one of the runner's."""
        try:
            self._folders.prepare(claimed.lease)
            request = self._request(claimed.lease)
            if request.rows == ():
                return Finished()
            runner = self._slot.begin(request)
            return self._watch(runner, claimed).until_end()
        except Exception as exc:
            _log.warning("The attempt failed in the supervisor.", exc_info=True)
            self._slot.discard()
            return LeaseLost(reason="the database is away") if is_outage(exc) else failed(exc)

    def _request(self, lease: Lease) -> RunRequest:
        """What was prepared for this lease, or made now."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None and (prepared.shard_id, prepared.token) == (lease.shard_id, lease.token):
            return prepared
        with self._database.reading() as session:
            return make_request(session, lease, device=self._device, folders=self._folders)

    def _prepare(self, runner: RunnerProcess, lease: Lease) -> None:
        """Make the request of the lease that follows, and have its documents read ahead."""
        self._prepared = self._request(lease)
        if self._prepared.rows != ():
            runner.announce(self._prepared)

    def _watch(self, runner: RunnerProcess, claimed: Claimed) -> Watch:
        look_ahead = LookAhead(
            claimed.lease,
            claims=self._claims,
            settings=self._settings,
            may_claim=lambda: not (self._draining() or self._storing.busy),
            prepare=partial(self._prepare, runner),
        )
        return Watch(
            runner,
            claimed.lease,
            database=self._database,
            settings=self._settings,
            folders=self._folders,
            draining=self._draining,
            claimed_at=claimed.at,
            look_ahead=look_ahead,
        )

    def _settle(self, lease: Lease, ending: Ending) -> None:
        if isinstance(ending, Finished):
            self._commit(lease, ending)
        elif isinstance(ending, Stopped):
            reason = "worker drains" if self._draining() else "asked to stop"
            self._insist(lambda session: self._release(session, lease, reason))
            self._nudging.others()
        elif isinstance(ending, Failed):
            self._fail(lease, ending)

    def _commit(self, lease: Lease, ending: Finished) -> None:
        reach(CrashPoint.BEFORE_COMMIT)
        began = time.monotonic()
        try:
            won = self._insist(lambda session: self._store(session, lease, ending.result))
        except Exception as exc:
            _log.warning("The result could not be stored.", exc_info=True)
            self._fail(lease, _not_stored(exc))
            return
        reach(CrashPoint.AFTER_COMMIT)
        if won:
            seconds = round(time.monotonic() - began, 3)
            _log.info("The result is stored.", job=lease.job_id, shard=lease.shard_id, seconds=seconds)
            self._nudging.others()
            if lease.kind is JobKind.TRAIN:
                self._folders.drop_checkpoints(lease)
        else:
            _log.warning("The result came too late: the lease was lost.", shard=lease.shard_id)

    def _store(self, session: Session, lease: Lease, result: dict[str, Any]) -> bool:
        now = database_now(session)
        output = self._folders.output(lease)

        def store(session: Session, lease: Lease) -> StoredCounts:
            return kinds.store(session, lease, result, folder=output, home=self._settings.home, now=now)

        won = commit(session, lease, now=now, settings=self._settings, store=store)
        reach(CrashPoint.INSIDE_COMMIT)
        return won

    def _fail(self, lease: Lease, ending: Failed) -> None:
        outcome = self._insist(lambda session: self._book_failure(session, lease, ending))
        if outcome is Action.RETRY and ending.failure is FailureClass.UNFIT:
            self._claims.leave_aside(lease.job_id)
        if outcome is not None:
            _log.warning(
                ending.message, shard=lease.shard_id, failure=ending.failure.value, followed_by=outcome.value
            )
            self._nudging.others()

    def _book_failure(self, session: Session, lease: Lease, ending: Failed) -> Action:
        outcome = fail_attempt(
            session,
            lease,
            failure=ending.failure,
            message=ending.message,
            hint=ending.hint,
            now=database_now(session),
            settings=self._settings,
        )
        return outcome.action

    def _release(self, session: Session, lease: Lease, reason: str) -> bool:
        now = database_now(session)
        return release(session, lease, now=now, settings=self._settings, reason=reason)

    def _insist(self, verb: Callable[[Session], Any]) -> Any:
        """Run `verb` in a transaction, again and again while the database is away.

        Repeating is safe: every verb is fenced, so one whose answer was lost does nothing the second time.
        A finished result is worth waiting for, however long: without the database there is no other work.
        Only a drain gives up after its grace, with None; the lease runs out then and another takes over.
        """
        backoff = Backoff()
        began = time.monotonic()
        while True:
            try:
                with self._database.transaction() as session:
                    return verb(session)
            except Exception as exc:
                if not is_outage(exc):
                    raise
                if self._draining() and time.monotonic() - began > self._settings.drain_seconds:
                    _log.error("The database is away; the attempt is given up.", reason=str(exc))
                    return None
                _log.warning("The database is away; trying again.", reason=str(exc))
                time.sleep(backoff.next_seconds())

    def _keep_or_end_runner(self, lease: Lease, ending: Ending) -> None:
        """Keep a runner only after a clean end of work that loads a model others may want."""
        if isinstance(ending, Finished | Stopped) and lease.kind is not JobKind.TRAIN:
            return
        if isinstance(ending, Finished | Stopped):
            self._slot.retire()
        else:
            self._slot.discard()


def _not_stored(exc: Exception) -> Failed:
    """A result that cannot be stored is the attempt's failure, tried again: its input is not at fault."""
    told = failed(exc)
    full = failure_class(exc) is FailureClass.DISK_FULL
    return told.model_copy(update={"failure": FailureClass.DISK_FULL if full else FailureClass.ERROR})
