"""The runner: a child process that does the computing of one worker, attempt after attempt.

Started as `python -m postq.worker.runner --parent PID` in a process group of its own. It never opens
the database or the broker: requests come in and messages go out as JSON lines (contracts/runner.py).
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from postq.contracts.runner import Checkpoint, Finished, Note, Progress, RunRequest, Stopped
from postq.crash_points import CrashPoint, reach
from postq.learning.hooks import Hooks, StopRequested
from postq.lifeline import die_with
from postq.logs import configure_logging
from postq.settings import load_settings
from postq.tasks import kinds
from postq.tasks.resident import Resident
from postq.worker.channel import Inbox, Outbox, take_over_stdout
from postq.worker.failures import failed, out_of_memory_kills

PROGRESS_SECONDS = 0.2
"""Progress within a phase is told at most this often."""

_log = structlog.get_logger()


def main() -> None:
    """Serve requests until the supervisor closes the pipe."""
    parser = argparse.ArgumentParser(prog="python -m postq.worker.runner")
    parser.add_argument("--parent", type=int, required=True, help="process id of the supervisor")
    die_with(parser.parse_args().parent)
    outbox = take_over_stdout()
    configure_logging(load_settings(), component="runner")
    inbox = Inbox(sys.stdin.buffer)
    inbox.start()
    resident = Resident(upcoming=inbox.take_upcoming)
    while (request := inbox.next_request()) is not None:
        _attempt(request, outbox=outbox, should_stop=inbox.stop_requested.is_set, resident=resident)


def _attempt(
    request: RunRequest, *, outbox: Outbox, should_stop: Callable[[], bool], resident: Resident
) -> None:
    """One attempt: whatever happens, the last message is Finished, Stopped or Failed, and only one."""
    log = _log.bind(job=request.job_id, shard=request.shard_id, fence=request.token)
    log.info("An attempt begins.", kind=request.spec.kind.value)
    reach(CrashPoint.RUNNER_STARTED)
    kills = out_of_memory_kills()
    try:
        result = kinds.run(request, hooks=_hooks(outbox, should_stop), resident=resident)
        reach(CrashPoint.AFTER_RESULT)
    except StopRequested:
        log.info("The attempt stopped as asked.")
        outbox.send(Stopped())
    except Exception as exc:
        log.warning("The attempt failed.", exc_info=True)
        resident.forget()
        outbox.send(failed(exc, out_of_memory_kills=out_of_memory_kills() - kills))
    else:
        log.info("The attempt finished.")
        outbox.send(Finished(result=result))


def _hooks(outbox: Outbox, should_stop: Callable[[], bool]) -> Hooks:
    def note(event: str, message: str, data: Mapping[str, Any]) -> None:
        outbox.send(Note(event=event, message=message, data=dict(data)))

    def checkpoint(path: Path, step: int) -> None:
        outbox.send(Checkpoint(path=path, step=step))

    return Hooks(progress=ProgressReporter(outbox), note=note, checkpoint=checkpoint, should_stop=should_stop)


class ProgressReporter:
    """Passes progress on, thinned out: every new phase and every end, and in between now and then."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._phase = ""
        self._told_at = 0.0

    def __call__(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        """Tell the supervisor, unless it was told a moment ago."""
        if done > 0:
            reach(CrashPoint.RUNNER_MIDWAY)
        now = time.monotonic()
        if phase == self._phase and done < total and now - self._told_at < PROGRESS_SECONDS:
            return
        self._phase, self._told_at = phase, now
        self._outbox.send(Progress(phase=phase, done=done, total=total, metrics=dict(metrics)))


if __name__ == "__main__":
    main()
