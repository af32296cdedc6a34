"""The place of the one runner a worker keeps: started when needed, reused while it is of use, then ended."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from postq.contracts.device import Device
from postq.contracts.runner import RunRequest
from postq.worker.environment import runner_environment
from postq.worker.runner_process import RunnerProcess

IDLE_SECONDS = 300.0
"""A runner without work for this long is let go: others may need the memory of its device."""


class RunnerSlot:
    """Holds at most one runner. Used from one thread, which must live as long as the process."""

    def __init__(
        self, *, device: Device, log: Path, threads: Callable[[], int], variables: Mapping[str, str]
    ) -> None:
        self._device = device
        self._variables = dict(variables)
        self._log = log
        self._threads = threads
        self._runner: RunnerProcess | None = None
        self._used_at = 0.0
        self.loaded = ""
        """Digest of the bundle the runner keeps loaded, which claims prefer; empty when it has none."""

    def begin(self, request: RunRequest) -> RunnerProcess:
        """Hand the request to the resident runner, or to a new one."""
        if self._runner is None or not self._runner.alive():
            self._start()
        assert self._runner is not None
        self.loaded = request.bundle.digest if request.bundle else ""
        self._used_at = time.monotonic()
        self._runner.begin(request)
        return self._runner

    def discard(self) -> None:
        """Kill the runner and all it started: what it holds is not to be trusted, or not wanted."""
        if self._runner is not None:
            self._runner.kill()
        self._runner, self.loaded = None, ""

    def retire(self) -> None:
        """Let an idle runner go, so that the memory of its device is free."""
        if self._runner is not None:
            self._runner.retire()
        self._runner, self.loaded = None, ""

    def look_after(self) -> None:
        """Called now and then while the worker is idle."""
        if self._runner is not None and time.monotonic() - self._used_at > IDLE_SECONDS:
            self.retire()

    def _start(self) -> None:
        threads, variables = self._threads(), self._variables
        environment = runner_environment(self._device, threads=threads, variables=variables)
        self._runner = RunnerProcess.start(environment=environment, log=self._log)
