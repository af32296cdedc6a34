"""The ear of a worker: a Celery worker in a thread whose only task is to wake the dispatcher."""

import functools
import logging
import threading
from collections.abc import Callable
from typing import Any

import structlog
from celery.worker import state as celery_state

from postq.celery_app import make_app
from postq.contracts.device import DeviceKind
from postq.nudges import TASK_NAME
from postq.settings import Settings
from postq.worker.backoff import Backoff
from postq.worker.gate import Gate, GatedConsumer

STOP_SECONDS = 1.0
"""How long a stopping worker waits for Celery; nothing is lost when it is cut short."""
_log = structlog.get_logger()


class Listener:
    """Listens for nudges as long as the process lives; a dead broker or broken message never ends it."""

    def __init__(
        self, settings: Settings, *, device_kind: DeviceKind, worker_id: str, on_nudge: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._device_kind: DeviceKind = device_kind
        self._name = f"postq-{device_kind}@{worker_id}"
        self._on_nudge = on_nudge
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen_forever, name="listener", daemon=True)
        self.gate = Gate()
        self.restarts = 0
        """How often a message no transport can take apart, or a refused login, ended a Celery worker."""

    def start(self) -> None:
        """Begin to listen, in a thread: Celery must never hold up or end the work."""
        logging.getLogger("celery").setLevel(logging.WARNING)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; returns after at most a second."""
        self._stopping.set()
        celery_state.should_stop = 0
        self._thread.join(STOP_SECONDS)

    def _listen_forever(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            try:
                self._listen()
            except Exception:
                _log.warning("Listening for nudges failed; it is begun anew.", exc_info=True)
            if not self._stopping.is_set():
                self.restarts += 1
                _log.warning("Listening broke off and is begun anew.", restarts=self.restarts)
                self._stopping.wait(backoff.next_seconds())

    def _listen(self) -> None:
        """One life of a Celery worker: ends only on `stop`, or by a message no transport can take apart."""
        app = make_app(self._settings, device_kind=self._device_kind)
        app.task(name=TASK_NAME, ignore_result=True)(self._on_nudge)
        controller: Any = app.WorkController(
            hostname=self._name,
            loglevel="WARNING",
            consumer_cls=functools.partial(GatedConsumer, gate=self.gate, pause=self._stopping.wait),
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        controller.start()
