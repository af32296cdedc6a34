"""The runner's end of the pipes: messages out on the real stdout, requests in on stdin."""

import os
import queue
import sys
import threading
from typing import BinaryIO

from postq.contracts.record import Record
from postq.contracts.runner import RunRequest, StopRequest, UpcomingRequest, supervisor_message
from postq.lifeline import end_group


class Outbox:
    """Writes one JSON line per message; safe to use from several threads."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, message: Record) -> None:
        """Hand a message to the supervisor; a supervisor that is gone ends this process."""
        line = message.model_dump_json().encode() + b"\n"
        with self._lock:
            try:
                self._stream.write(line)
                self._stream.flush()
            except BrokenPipeError:
                end_group()


def take_over_stdout() -> Outbox:
    """Keep the real stdout for messages; whatever a library prints goes to stderr from now on."""
    sys.stdout.flush()
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return Outbox(messages)


class Inbox:
    """Reads in a thread, so that word of a stop, or of what comes next, arrives while the runner computes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._requests: queue.SimpleQueue[RunRequest | None] = queue.SimpleQueue()
        self._upcoming: RunRequest | None = None
        self._received = 0
        self._begun = 0
        self._ended = 0
        """Requests that were read, handed out, and dealt with."""
        self.stop_requested = threading.Event()

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def next_request(self) -> RunRequest | None:
        """The next request; None when the supervisor closed the pipe while nothing was running."""
        self._ended = self._begun
        request = self._requests.get()
        self._begun += request is not None
        return request

    def take_upcoming(self) -> RunRequest | None:
        """The attempt that will follow the one in hand, once, if the supervisor has said so."""
        upcoming, self._upcoming = self._upcoming, None
        return upcoming

    def _read(self) -> None:
        for line in self._stream:
            message = supervisor_message.validate_json(line)
            if isinstance(message, StopRequest):
                self.stop_requested.set()
            elif isinstance(message, UpcomingRequest):
                self._upcoming = message.request
            else:
                # The pipe keeps the order: a stop read before this line was for the attempt before.
                self.stop_requested.clear()
                self._upcoming = None
                self._received += 1
                self._requests.put(message)
        if self._received > self._ended:
            end_group()
        self._requests.put(None)
