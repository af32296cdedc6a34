"""Named places where a process can be told to die or freeze, so that tests break it exactly there."""

import os
import signal
import threading
from enum import StrEnum

AT_VARIABLE = "POSTQ_CRASH_AT"
"""`name` or `name:N`: die when the named point is reached for the N-th time (default the first)."""
ONCE_VARIABLE = "POSTQ_CRASH_ONCE"
"""A file that the dying process creates; whoever finds it there already goes on living."""
SIGNAL_VARIABLE = "POSTQ_CRASH_SIGNAL"
"""`KILL` (default) to die without a trace, `STOP` to freeze until someone sends SIGCONT."""


class CrashPoint(StrEnum):
    """Every place that can be named, in the order a shard passes them."""

    AFTER_SUBMIT = "after-submit"  # submit: the job is committed, no nudge was sent
    AFTER_CLAIM = "after-claim"  # supervisor: the lease is ours, nothing was started
    RUNNER_STARTED = "runner-started"  # runner: the request was read, no work was done
    RUNNER_MIDWAY = "runner-midway"  # runner: between two pieces of work
    TRAINING_STEP = "training-step"  # runner: an optimizer step of an encoder was made
    CLAIMED_AHEAD = "claimed-ahead"  # supervisor: the next lease is ours too, the runner was not told
    BEFORE_RESULT = "before-result"  # runner: all work done, nothing written
    AFTER_RESULT = "after-result"  # runner: result files written, the supervisor not told
    BEFORE_COMMIT = "before-commit"  # supervisor: the result was read, no transaction was opened
    INSIDE_COMMIT = "inside-commit"  # supervisor: all rows written, the transaction is still open
    AFTER_COMMIT = "after-commit"  # supervisor: committed, dependents not nudged, files not removed
    BEFORE_CHECKPOINT_RENAME = "before-checkpoint-rename"  # runner: files synced under a temporary name
    AFTER_CHECKPOINT_RENAME = "after-checkpoint-rename"  # runner: in place, the supervisor not told
    BEFORE_CHECKPOINT_REGISTERED = "before-checkpoint-registered"  # supervisor: told, not in the database
    AFTER_SNAPSHOT = "after-snapshot"  # adding a corpus: the snapshot is in place, no row names it


_reached: dict[str, int] = {}
_lock = threading.Lock()


def reach(point: CrashPoint) -> None:
    """Die (or freeze) here if the environment names this point; otherwise do nothing."""
    wanted = os.environ.get(AT_VARIABLE)
    if not wanted:
        return
    name, _, nth = wanted.partition(":")
    if name == point and _count(name) == int(nth or 1) and _first_to_die():
        number = signal.Signals[f"SIG{os.environ.get(SIGNAL_VARIABLE, 'KILL')}"]
        # To this very thread: sent to the process, a STOP may be taken by another thread first, and this one
        # would run past the point before it stands still.
        signal.pthread_kill(threading.get_ident(), number)


def _count(name: str) -> int:
    with _lock:
        _reached[name] = _reached.get(name, 0) + 1
        return _reached[name]


def _first_to_die() -> bool:
    once = os.environ.get(ONCE_VARIABLE)
    if once is None:
        return True
    try:
        os.close(os.open(once, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return False
    return True
