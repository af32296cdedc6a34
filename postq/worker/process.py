"""One worker process: its parts, how they start, and how they end in good order."""

import os
import signal
import socket
import threading
import uuid
from types import FrameType

import structlog
from sqlalchemy.orm import Session

import postq
from postq.contracts.device import Device
from postq.database_tag import database_tag
from postq.db import database_now, open_database
from postq.errors import SchemaMismatch
from postq.jobs.workers import heartbeat, live_workers, mark_stopped, register_worker
from postq.migrations import check_schema, ensure_schema
from postq.settings import Settings
from postq.stop_signals import insists, stop_signals
from postq.worker.claims import Claims
from postq.worker.dispatcher import Dispatcher
from postq.worker.drift_watch import DriftWatch
from postq.worker.environment import share_of_cores
from postq.worker.folders import Folders
from postq.worker.listener import Listener
from postq.worker.maintenance import Maintenance
from postq.worker.nudging import Nudging
from postq.worker.rounds import Rounds
from postq.worker.runner_slot import RunnerSlot
from postq.worker.storing import Storing
from postq.worker.supervisor import Supervisor

SIGNAL_SECONDS = 0.5
"""How soon a signal is heeded that did not interrupt the first thread's wait: another thread took it, or it
came in the moment the wait began. Python handles signals in the first thread only, and only while it runs."""

DRAINS, SPARE_SECONDS = 3, 5.0
"""A drain may wait `drain_seconds` for the runner, again for a result to be stored and for a lease to be
given back. Later than that something stands still, such as a connection to a server that is frozen."""

_log = structlog.get_logger()


class WorkerProcess:
    """The parts of one worker; `run` blocks until a signal to stop and the drain that follows.

    Raises DatabaseUnavailable and SchemaMismatch when it is made.
    """

    def __init__(self, settings: Settings, device: Device) -> None:
        self._settings = settings
        self._device = device
        self._id = uuid.uuid4().hex
        self._hostname = socket.gethostname()
        self._database = open_database(settings)
        ensure_schema(self._database)
        log = settings.home / "logs" / f"runner-{device.label.replace(':', '')}-{os.getpid()}.log"
        variables = settings.runner_variables
        self._other_schema: SchemaMismatch | None = None
        self._slot = RunnerSlot(device=device, log=log, threads=self._threads, variables=variables)
        storing, self._nudging = Storing(), Nudging(settings)
        claims = Claims(
            database=self._database,
            settings=settings,
            worker_id=self._id,
            device=device,
            loaded=lambda: self._slot.loaded,
            nudging=self._nudging,
        )
        supervisor = Supervisor(
            database=self._database,
            settings=settings,
            device=device,
            slot=self._slot,
            folders=self._folders(),
            claims=claims,
            storing=storing,
            nudging=self._nudging,
            draining=lambda: self._dispatcher.draining,
        )
        self._dispatcher = Dispatcher(
            settings=settings,
            claims=claims,
            storing=storing,
            see_through=supervisor.see_through,
            while_idle=self._slot.look_after,
            on_change=self._tell_state,
        )
        maintenance = Maintenance(
            database=self._database, settings=settings, on_change=self._dispatcher.look_again
        )
        every = settings.reconcile_seconds
        self._heartbeat = Rounds("heartbeat", self._beat, every_seconds=every)
        self._maintenance = Rounds("maintenance", maintenance.run_once, every_seconds=every)
        watch = DriftWatch(
            database=self._database, settings=settings, should_stop=lambda: self._dispatcher.draining
        )
        self._drift_watch = Rounds("drift watch", watch.run_once, every_seconds=every)
        self._listener = Listener(
            settings, device_kind=device.kind, worker_id=self._id, on_nudge=self._dispatcher.nudged
        )

    def run(self) -> None:
        """Work until told to stop, or until the schema is another version's.

        Raises DatabaseUnavailable before the work begins only, SchemaMismatch at the end.
        """
        with self._database.transaction() as session:
            self._register(session)
        self._catch_signals()
        _log.info("The worker is ready.", worker=self._id, device=self._device.label, pid=os.getpid())
        # A thread of its own, since the kernel ends a runner with the thread that started it and this one
        # must stay free for signals.
        work = threading.Thread(target=self._dispatcher.run, name="dispatcher")
        for part in (work, self._heartbeat, self._maintenance, self._drift_watch, self._listener):
            part.start()
        while work.is_alive():
            work.join(SIGNAL_SECONDS)
        self._say_goodbye()
        if self._other_schema is not None:
            raise self._other_schema

    def _folders(self) -> Folders:
        home = self._settings.home
        with self._database.reading() as session:
            return Folders(home, tag=database_tag(session, home=home))

    def _register(self, session: Session) -> None:
        register_worker(
            session,
            worker_id=self._id,
            hostname=self._hostname,
            pid=os.getpid(),
            device=self._device,
            version=postq.__version__,
            now=database_now(session),
        )

    def _catch_signals(self) -> None:
        for number in stop_signals():
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """The first signal drains; a second one ends at once, and the runner with us."""
        del frame
        if self._dispatcher.draining and insists(number):
            os._exit(128 + number)
        self._dispatcher.drain()
        limit = DRAINS * self._settings.drain_seconds + SPARE_SECONDS
        late = threading.Timer(limit, _end_all_the_same, args=(number, limit))
        late.daemon = True
        late.start()

    def _say_goodbye(self) -> None:
        heard = {
            "dropped_messages": self._listener.gate.dropped,
            "listener_restarts": self._listener.restarts,
        }
        _log.info("The worker ends.", worker=self._id, **heard)
        for part in (self._listener, self._heartbeat, self._maintenance, self._drift_watch):
            part.stop()
        self._slot.retire()
        self._nudging.wait()
        try:
            with self._database.transaction() as session:
                mark_stopped(session, self._id, now=database_now(session))
        except Exception:  # its silence will be noticed
            _log.warning("The worker could not say goodbye to the database.", exc_info=True)
        self._database.dispose()

    def _beat(self) -> None:
        """A sign of life; after a prune the worker is entered anew."""
        if not self._schema_is_ours():
            return
        shard_id = self._dispatcher.shard_id
        state = "draining" if self._dispatcher.draining else "idle" if shard_id is None else "busy"
        with self._database.transaction() as session:
            now = database_now(session)
            if not heartbeat(session, self._id, state=state, shard_id=shard_id, now=now):
                self._register(session)

    def _schema_is_ours(self) -> bool:
        """False, and the worker drains, once somebody moved the schema to another version under it."""
        try:
            check_schema(self._database)
        except SchemaMismatch as exc:
            self._other_schema = exc
            self._dispatcher.drain()
            return False
        return True

    def _tell_state(self) -> None:
        self._heartbeat.wake()
        self._drift_watch.wake()

    def _threads(self) -> int:
        """This worker's share of the machine's cores, by how many workers live on it now."""
        with self._database.reading() as session:
            live = live_workers(session, now=database_now(session), settings=self._settings)
        here = sum(worker.hostname == self._hostname for worker in live)
        return share_of_cores(workers_here=here, cpu_threads=self._settings.cpu_threads)


def _end_all_the_same(number: int, seconds: float) -> None:
    _log.error("The worker did not come to its end and is ended; its leases run out.", seconds=seconds)
    os._exit(128 + number)
