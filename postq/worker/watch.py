"""Watching one attempt: hear the runner, keep the lease, notice when work stands still or must stop."""

import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from postq.contracts.failure import FailureClass
from postq.contracts.runner import Checkpoint, Failed, Finished, Note, Progress, Stopped
from postq.contracts.specs import JobKind
from postq.crash_points import CrashPoint, reach
from postq.db import Database, database_now
from postq.jobs.leases import Lease, ProgressReport, record_event, register_checkpoint, renew
from postq.settings import Settings
from postq.worker.failures import class_of_exit, describe_exit, out_of_memory_kills
from postq.worker.folders import Folders
from postq.worker.lease_guard import LeaseGuard
from postq.worker.look_ahead import LookAhead
from postq.worker.outages import is_outage
from postq.worker.runner_process import Heard, RunnerExited

TICK_SECONDS = 0.1
"""How soon a request to drain is noticed."""
REPORT_SECONDS = 2.0
"""Progress is written this often at most; a renewal in between carries it too."""
TERMINATE_SECONDS = 2.0
"""Between SIGTERM and SIGKILL of a runner that did not stop in its grace."""
BEFORE_ANY_DOCUMENT = ("starting", "loading")
"""Phases of a classification in which a failure says nothing of its documents."""
BLAMED_ON_DOCUMENTS = (FailureClass.CRASH, FailureClass.HOST_OOM, FailureClass.STALLED)
STALL_FACTORS = {"starting": 3.0, "loading": 2.0, "fitting": 4.0}
"""Phases that rightly show no progress for longer: imports, reading weights, fitting a linear model."""

NO_MEMORY_HINT = "The machine's memory ran out: give the job --memory, or run fewer workers there."
NOT_BEGUN_HINT = "See the end of the runner's log on that worker's machine, then run `postq retry`."

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseLost:
    """The shard is another's by now, or may be: nothing of this attempt may be stored."""

    reason: str


Ending = Finished | Stopped | Failed | LeaseLost


class Runner(Protocol):
    """What a watch needs of a runner process."""

    @property
    def heard(self) -> "queue.SimpleQueue[Heard]":
        """Messages, and at last RunnerExited."""

    def ask_to_stop(self) -> None:
        """Ask for an end between two batches."""

    def terminate(self) -> None:
        """SIGTERM to the group."""

    def kill(self) -> None:
        """SIGKILL to the group."""

    def last_words(self) -> str:
        """The end of its log."""


class Watch:
    """One attempt from the moment the runner has its request until it ended, one way or the other.

    All waits are measured by the monotonic clock of this machine, all leases by the database's. By our clock
    this lease runs since `claimed_at`.
    """

    def __init__(
        self,
        runner: Runner,
        lease: Lease,
        *,
        database: Database,
        settings: Settings,
        folders: Folders,
        draining: Callable[[], bool],
        claimed_at: float,
        look_ahead: LookAhead,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runner = runner
        self._lease = lease
        self._database = database
        self._settings = settings
        self._folders = folders
        self._draining = draining
        self._look_ahead = look_ahead
        self._clock = clock
        self._log = _log.bind(job=lease.job_id, shard=lease.shard_id, fence=lease.token)
        now = clock()
        self._held_until = claimed_at + settings.lease_seconds
        self._renew_at = claimed_at + settings.renew_seconds
        self._report_at = now
        self._moved_at = now
        self._phase = "starting"
        self._progress: Progress | None = None
        self._unwritten: list[Note | Checkpoint] = []
        self._progress_unwritten = False
        self._cancelling = False
        self._stop_by: float | None = None
        self._oom_kills = out_of_memory_kills()
        self._guard = LeaseGuard(
            runner.kill, lease_seconds=settings.lease_seconds, used_seconds=now - claimed_at
        )

    def until_end(self) -> Ending:
        """Watch until the attempt has ended. After anything but Finished, Stopped and Failed *by the runner
        itself*, the runner is dead."""
        with self._guard:
            while True:
                ending = (
                    self._hear() or self._keep_lease() or self._enforce_stop() or self._enforce_progress()
                )
                if ending is not None:
                    return self._as_blamed(ending)
                self._look_ahead.give_back_if_late()

    def _hear(self) -> Ending | None:
        try:
            message = self._runner.heard.get(timeout=TICK_SECONDS)
        except queue.Empty:
            return None
        if isinstance(message, Finished | Stopped | Failed):
            self._flush_last_notes()
            return message
        if isinstance(message, RunnerExited):
            return self._died(message)
        if isinstance(message, Progress):
            self._moved(message)
        else:
            self._unwritten.append(message)
            self._moved_at = self._clock()
        return None

    def _moved(self, message: Progress) -> None:
        before = self._progress
        if before is None or (before.phase, before.done) != (message.phase, message.done):
            self._moved_at = self._clock()
        self._progress, self._phase, self._progress_unwritten = message, message.phase, True
        if self._stop_by is None:
            self._look_ahead.heard(message)

    def _keep_lease(self) -> Ending | None:
        """Renew when it is time, or when there is something to write; give up once the lease ran out."""
        now, sent_at = self._clock(), time.monotonic()
        if now < self._renew_at and not (now >= self._report_at and self._something_new()):
            return None
        try:
            held = self._write()
        except Exception as exc:
            if not is_outage(exc):
                raise
            return self._without_database(exc)
        if not held:
            return self._lost("the shard is no longer leased to this attempt")
        self._guard.renewed(sent_at=sent_at)
        self._held_until = now + self._settings.lease_seconds
        self._renew_at = now + self._settings.renew_seconds
        self._report_at = now + min(REPORT_SECONDS, self._settings.renew_seconds)
        return None

    def _something_new(self) -> bool:
        return self._progress_unwritten or bool(self._unwritten)

    def _write(self) -> bool:
        """Renew the lease with the latest progress, notes and checkpoints, in one transaction."""
        for message in self._unwritten:
            if isinstance(message, Checkpoint):
                reach(CrashPoint.BEFORE_CHECKPOINT_REGISTERED)
        with self._database.transaction() as session:
            now = database_now(session)
            renewal = renew(
                session,
                self._lease,
                now=now,
                lease_seconds=self._settings.lease_seconds,
                progress=self._report(),
            )
            if not renewal.held:
                return False
            for message in self._unwritten:
                if isinstance(message, Checkpoint):
                    path = self._folders.relative(message.path)
                    register_checkpoint(session, self._lease, path, message.step, now)
                else:
                    record_event(
                        session,
                        self._lease,
                        type=message.event,
                        message=message.message,
                        data=message.data,
                        now=now,
                    )
        if any(isinstance(message, Checkpoint) for message in self._unwritten):
            self._folders.drop_superseded_checkpoints(self._lease)
        self._unwritten, self._progress_unwritten = [], False
        self._cancelling = self._cancelling or renewal.stop == "cancel"
        return True

    def _report(self) -> ProgressReport | None:
        if self._progress is None or not self._progress_unwritten:
            return None
        told = self._progress
        return ProgressReport(phase=told.phase, done=told.done, total=told.total, metrics=told.metrics)

    def _without_database(self, exc: Exception) -> Ending | None:
        """The database is away: go on as long as the lease holds by our clock, not a moment longer."""
        now = self._clock()
        if now >= self._held_until:
            return self._lost("the database was out of reach until the lease ran out")
        self._log.warning("The lease could not be renewed yet.", reason=str(exc))
        self._renew_at = self._report_at = min(now + 1.0, self._held_until)
        return None

    def _enforce_stop(self) -> Ending | None:
        """On drain or cancel: ask, wait for the grace, then end the runner by force."""
        if not (self._cancelling or self._draining()):
            return None
        now = self._clock()
        if self._stop_by is None:
            self._log.info("The runner is asked to stop.", cause="cancel" if self._cancelling else "drain")
            self._stop_by = now + self._settings.drain_seconds
            self._runner.ask_to_stop()
            return None
        if now < self._stop_by:
            return None
        self._log.warning("The runner did not stop in its grace and is ended.")
        self._runner.terminate()
        self._await_exit(self._clock() + TERMINATE_SECONDS)
        self._runner.kill()
        return Stopped()

    def _await_exit(self, deadline: float) -> None:
        while (left := deadline - self._clock()) > 0:
            try:
                if isinstance(self._runner.heard.get(timeout=left), RunnerExited):
                    return
            except queue.Empty:
                return

    def _enforce_progress(self) -> Ending | None:
        # A baseline's phases carry its name in front.
        limit = self._settings.stall_seconds * STALL_FACTORS.get(self._phase.rpartition(" ")[2], 1.0)
        if self._clock() - self._moved_at < limit:
            return None
        self._runner.kill()
        message = f"No progress for {limit:.0f} seconds while {self._phase}."
        return Failed(failure=FailureClass.STALLED, message=message, traceback=self._runner.last_words())

    def _died(self, exited: RunnerExited) -> Ending:
        if self._guard.expired:
            return LeaseLost(reason="the lease ran out before it could be renewed")
        if self._stop_by is not None:
            return Stopped()  # it took our SIGTERM, or a stop, for its end
        kills = out_of_memory_kills() - self._oom_kills
        words = self._runner.last_words()
        failure = class_of_exit(exited.returncode, out_of_memory_kills=kills)
        message = describe_exit(exited.returncode)
        self._log.warning(message, failure=failure.value, last_words=words[-2000:])
        return Failed(failure=failure, message=message, traceback=words)

    def _as_blamed(self, ending: Ending) -> Ending:
        """A model that cannot be loaded is no document's fault: of those none would be left."""
        if (
            isinstance(ending, Failed)
            and ending.failure in BLAMED_ON_DOCUMENTS
            and self._lease.kind is JobKind.CLASSIFY
            and self._phase in BEFORE_ANY_DOCUMENT
        ):
            memory = ending.failure is FailureClass.HOST_OOM
            return ending.model_copy(
                update={
                    "failure": FailureClass.NOT_BEGUN,
                    "message": f"{ending.message} No document had been read yet.",
                    "hint": ending.hint or (NO_MEMORY_HINT if memory else NOT_BEGUN_HINT),
                }
            )
        return ending

    def _flush_last_notes(self) -> None:
        """Notes and checkpoints said before the last word are written if the database lets us."""
        if self._unwritten:
            self._renew_at = self._clock()
            self._keep_lease()

    def _lost(self, reason: str) -> LeaseLost:
        self._log.warning("The lease is lost; the runner is ended.", reason=reason)
        self._runner.kill()
        return LeaseLost(reason=reason)
