"""Worker processes kept running: started, restarted with growing pauses when they crash, drained together."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from postq.cli.printing.terminal import complain, say
from postq.cli.printing.wording import duration, short_path
from postq.database_tag import tagged
from postq.stop_signals import insists, stop_signals

LOOK_SECONDS = 0.2
IDLE_LOOK_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
HEALTHY_SECONDS = 60.0
"""A worker that lived this long starts again at once; its earlier crashes are forgotten."""
GRACE_SECONDS = 15.0
"""On top of the drain: time for a worker to stop its runner and say goodbye to the database."""
LAST_LINES = 5
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Place:
    """One worker this machine should have."""

    number: int
    device: str
    tag: str
    """Of the database its worker serves: another's with this home has places of the same numbers."""

    @property
    def title(self) -> str:
        """Such as `worker 2 (cuda:0)`."""
        return f"worker {self.number} ({self.device})"

    @property
    def log_name(self) -> str:
        """Name of its log file."""
        name = f"worker-{self.number}-{self.device.replace(':', '')}"
        return f"{tagged(name, self.tag)}.log"


def worker_command(place: Place) -> list[str]:
    """The command line of a worker process."""
    return [sys.executable, "-m", "postq.worker", "--device", place.device]


@dataclass(kw_only=True)
class Child:
    """One place with its present process and its crash history."""

    place: Place
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    crashes: int = 0
    start_at: float = 0.0
    log_before: int = 0
    """Bytes in its log file when its present process started."""


@dataclass(kw_only=True)
class Fleet:
    """All workers of one `postq up`."""

    places: tuple[Place, ...]
    environment: Mapping[str, str]
    logs: Path | None
    """Folder of the workers' logs; None lets them write to this terminal."""
    drain_seconds: float
    command: Callable[[Place], list[str]] = worker_command
    first_pause_seconds: float = FIRST_PAUSE_SECONDS
    _stop_signals: int = field(default=0, init=False)
    _next_idle_look: float = field(default=0.0, init=False)

    def run(self, *, until: Callable[[], bool] | None) -> None:
        """Keep every place filled until a signal comes or `until` is true, then drain all."""
        children = [Child(place=place) for place in self.places]
        handlers = {sign: signal.signal(sign, self._on_signal) for sign in stop_signals()}
        try:
            self._keep(children, until)
        finally:
            self._drain(children)
            for sign, handler in handlers.items():
                signal.signal(sign, handler)

    def _on_signal(self, sign: int, frame: FrameType | None) -> None:
        del frame
        if insists(sign) or not self._stop_signals:
            self._stop_signals += 1

    def _keep(self, children: list[Child], until: Callable[[], bool] | None) -> None:
        while not self._stop_signals:
            for child in children:
                self._look_after(child)
            if until is not None and self._is_time() and until():
                say("All jobs have ended.")
                return
            time.sleep(LOOK_SECONDS)

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now < self._next_idle_look:
            return False
        self._next_idle_look = now + IDLE_LOOK_SECONDS
        return True

    def _look_after(self, child: Child) -> None:
        now = time.monotonic()
        if child.process is None:
            if now >= child.start_at:
                self._start(child)
            return
        code = child.process.poll()
        if code is not None:
            self._plan_restart(child, code, now)

    def _start(self, child: Child) -> None:
        log = self._open_log(child.place)
        child.log_before = 0 if log is None else os.fstat(log).st_size
        try:
            child.process = subprocess.Popen(
                self.command(child.place),
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # Ctrl-C reaches `up` alone, which then drains the workers once
                preexec_fn=_end_with_parent(),
            )
        finally:
            if log is not None:
                os.close(log)
        child.started = time.monotonic()
        where = f" · log {short_path(self.logs / child.place.log_name)}" if self.logs else ""
        say(f"{child.place.title} started, process {child.process.pid}{where}")

    def _open_log(self, place: Place) -> int | None:
        if self.logs is None:
            return None
        self.logs.mkdir(parents=True, exist_ok=True, mode=0o750)
        return os.open(self.logs / place.log_name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)

    def _plan_restart(self, child: Child, code: int, now: float) -> None:
        child.crashes = 1 if now - child.started > HEALTHY_SECONDS else child.crashes + 1
        pause = min(self.first_pause_seconds * 2 ** (child.crashes - 1), LONGEST_PAUSE_SECONDS)
        child.process, child.start_at = None, now + pause
        complain("note", f"{child.place.title} {_ending(code)}; it starts again in {duration(pause)}.")
        for line in self._last_lines(child):
            say(f"  {line}", style="dim")

    def _last_lines(self, child: Child) -> list[str]:
        """What the process that ended said last."""
        if self.logs is None:
            return []
        with (self.logs / child.place.log_name).open("rb") as file:
            file.seek(child.log_before)
            return file.read().decode(errors="replace").splitlines()[-LAST_LINES:]

    def _drain(self, children: list[Child]) -> None:
        """Ask every worker to finish what it holds; after the grace, or a second Ctrl-C, kill."""
        going = [child.process for child in children if child.process and child.process.poll() is None]
        if not going:
            return
        if self._stop_signals:
            say("Draining: work in hand is finished or given back. Press Ctrl-C again to stop at once.")
        for process in going:
            process.terminate()
        deadline = time.monotonic() + self.drain_seconds + GRACE_SECONDS
        while any(process.poll() is None for process in going):
            if time.monotonic() > deadline or self._stop_signals > 1:
                break
            time.sleep(LOOK_SECONDS)
        for process in going:
            process.kill()  # does nothing to one that has ended
            process.wait()


def _ending(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _end_with_parent() -> Callable[[], None] | None:
    """On Linux the kernel sends a worker SIGTERM when `postq up` dies, however it dies."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask
