"""The supervisor's end of one runner: starting it, talking to it, and ending it with all it started."""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import structlog
from pydantic import ValidationError

from postq.contracts.record import Record
from postq.contracts.runner import RunnerMessage, RunRequest, StopRequest, UpcomingRequest, runner_message

TAIL_BYTES = 4000
LOG_BYTES = 20 * 2**20
"""A runner's log is begun anew beyond this size; the one before is kept."""
REAP_SECONDS = 10.0

_log = structlog.get_logger()


class RunnerExited(Record):
    """Not a message but the end of all messages: the process is gone."""

    returncode: int


Heard = RunnerMessage | RunnerExited


class RunnerProcess:
    """One live runner in a process group of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]", *, log: Path) -> None:
        self._process = process
        self._log = log
        self._log_start = log.stat().st_size
        self._reaping = threading.Lock()
        self._ended = threading.Event()
        self._listener = threading.Thread(target=self._listen, name=f"hear-{process.pid}", daemon=True)
        self.heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self._listener.start()
        threading.Thread(target=self._reap, name=f"reap-{process.pid}", daemon=True).start()

    @classmethod
    def start(cls, *, environment: Mapping[str, str], log: Path) -> "RunnerProcess":
        """Start a runner. Call it from a thread that lives as long as this process (see lifeline.py)."""
        command = [sys.executable, "-m", "postq.worker.runner", "--parent", str(os.getpid())]
        with _open_log(log) as stderr:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=dict(environment),
                start_new_session=True,
            )
        _log.info("A runner was started.", runner=process.pid)
        return cls(process, log=log)

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its group."""
        return self._process.pid

    def alive(self) -> bool:
        """True until the process has ended and all its messages were heard."""
        return not self._ended.is_set()

    def begin(self, request: RunRequest) -> None:
        """Hand over an attempt; a runner that just died says so by RunnerExited."""
        self._log_start = self._log.stat().st_size
        self._write(request)

    def announce(self, request: RunRequest) -> None:
        """Tell which attempt will follow, so that it reads ahead."""
        self._write(UpcomingRequest(request=request))

    def ask_to_stop(self) -> None:
        """Ask it to finish the batch or write a checkpoint."""
        self._write(StopRequest())

    def terminate(self) -> None:
        """SIGTERM to the group."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the group, and wait until the process is reaped."""
        self._signal(signal.SIGKILL)
        self._close_stdin()
        if not self._ended.wait(REAP_SECONDS):  # stuck in the kernel, such as on a dead network mount
            _log.error("A runner did not end after SIGKILL.", runner=self.pid)

    def retire(self) -> None:
        """End an idle runner: closing its stdin asks it to go."""
        self._close_stdin()
        if not self._ended.wait(REAP_SECONDS):
            self.kill()

    def last_words(self) -> str:
        """The end of what it wrote to stderr in this attempt."""
        with self._log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(min(self._log_start, size), size - TAIL_BYTES))
            return file.read().decode(errors="replace").strip()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _write(self, message: Record) -> None:
        with suppress(BrokenPipeError, ValueError):  # gone, or being ended: RunnerExited will tell
            self._stdin.write(message.model_dump_json().encode() + b"\n")
            self._stdin.flush()

    def _close_stdin(self) -> None:
        with suppress(BrokenPipeError):
            self._stdin.close()

    def _signal(self, number: signal.Signals) -> None:
        with self._reaping:
            if self._process.returncode is None:  # not reaped, so the id cannot be another's by now
                _signal_group(self.pid, number)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                try:
                    self.heard.put(runner_message.validate_json(line))
                except ValidationError:
                    _log.error("A runner sent a line that is no message; it is ended.", line=line[:200])
                    self._signal(signal.SIGKILL)

    def _reap(self) -> None:
        """Wait for the end, kill whatever the runner left behind in its group, then tell."""
        if hasattr(os, "waitid"):  # wait without reaping: until then its id, and its group's, is its own
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        with self._reaping:
            returncode = self._process.wait()
            _signal_group(self.pid, signal.SIGKILL)
        self._listener.join()
        self._close_stdin()
        self.heard.put(RunnerExited(returncode=returncode))
        self._ended.set()


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):  # macOS says "not permitted" of a dead group
        os.killpg(group, number)


def _open_log(log: Path) -> IO[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".old.log"))
    return log.open("ab")
