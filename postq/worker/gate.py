"""The gate every broker message passes: anything but a plain nudge is counted and dropped."""

import json
import threading
from collections.abc import Callable
from typing import Any

import structlog
from celery.worker.consumer import Consumer

from postq.nudges import TASK_NAME
from postq.worker.backoff import Backoff

LONGEST_PAUSE_SECONDS = 60.0
"""Between two tries at a broker that refuses; a wrong password is mended by people."""
MAX_BODY_BYTES = 1024
"""A nudge has a body of some eighty bytes."""
_TIMED_HEADERS = ("eta", "expires", "group", "chord", "stamps")

_log = structlog.get_logger()


class Gate:
    """Says which messages are nudges, and counts those that are not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.dropped = 0

    def lets_through(self, message: Any) -> bool:
        """True for a nudge; otherwise the message is counted, logged and acknowledged away."""
        fault = fault_of(message)
        if fault is None:
            return True
        self.count(fault)
        message.ack_log_error(_log, (OSError,))
        return False

    def count(self, fault: str) -> None:
        """One more message that was dropped, and why. Its content is not logged: it is not ours."""
        with self._lock:
            self.dropped += 1
        _log.warning("A message that is not a nudge was dropped.", fault=fault, dropped=self.dropped)


class GatedConsumer(Consumer):  # type: ignore[misc]  # Celery ships no types
    """Celery's consumer behind the gate: hostile messages never reach Celery's own parsing."""

    def __init__(self, *args: Any, gate: Gate, pause: Callable[[float], object], **kwargs: Any) -> None:
        self._gate = gate
        self._pause = pause
        self._backoff = Backoff(longest_seconds=LONGEST_PAUSE_SECONDS)
        super().__init__(*args, **kwargs)

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """Wait longer after each refusal, such as of a login: Celery would try again at once, for ever."""
        seconds = self._backoff.next_seconds()
        _log.warning(
            "The broker refuses the connection; work is found by polling meanwhile.",
            reason=str(exc),
            again_in_seconds=round(seconds, 1),
        )
        self._pause(seconds)

    def on_ready(self) -> None:
        """Celery says that it listens: a later refusal begins with short waits again."""
        self._backoff.reset()
        super().on_ready()

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Any:
        """Celery's handler of one message, called only for nudges."""
        handle = super().create_task_handler(*args, **kwargs)

        def gated(message: Any) -> None:
            if self._gate.lets_through(message):
                handle(message)

        return gated


def fault_of(message: Any) -> str | None:
    """Why a kombu message is not a plain nudge; None when it is one."""
    if message.errors:
        return "it cannot be decoded"
    if message.content_type != "application/json":
        return "its content type is not JSON"
    return _headers_fault(message.headers) or _body_fault(message.body)


def _headers_fault(headers: Any) -> str | None:
    if not isinstance(headers, dict) or headers.get("task") != TASK_NAME:
        return "it names another task"
    if any(headers.get(name) for name in _TIMED_HEADERS):
        return "it asks for more than a nudge"
    if not isinstance(headers.get("id"), str) or len(headers["id"]) > 100:
        return "its id is not one"
    return None


def _body_fault(body: str | bytes) -> str | None:
    if len(body) > MAX_BODY_BYTES:
        return "its body is too large"
    try:
        parts = json.loads(body)
    except (ValueError, RecursionError):
        return "its body is not JSON"
    plain = isinstance(parts, list) and len(parts) == 3 and parts[:2] == [[], {}] and _is_empty(parts[2])
    return None if plain else "it carries arguments"


def _is_empty(options: Any) -> bool:
    return isinstance(options, dict) and not any(options.values())
