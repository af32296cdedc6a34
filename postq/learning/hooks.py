"""What a long-running learner tells its caller, and how the caller asks it to stop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class StopRequested(Exception):  # a request granted, not an error
    """Raised by a learner after it stopped cleanly because `should_stop` said so."""


def _ignore_progress(phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
    del phase, done, total, metrics


def _ignore_note(event: str, message: str, data: Mapping[str, Any]) -> None:
    del event, message, data


def _ignore_checkpoint(path: Path, step: int) -> None:
    del path, step


def never_stop() -> bool:
    """The default of every `should_stop`: go on to the end."""
    return False


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """Callbacks of one attempt; the defaults do nothing, so learners run without a worker."""

    progress: Callable[[str, int, int, Mapping[str, float]], None] = _ignore_progress
    """(phase, done, total, metrics): work moved."""
    note: Callable[[str, str, Mapping[str, Any]], None] = _ignore_note
    """(event, message, data): something a person should read, such as a detector."""
    checkpoint: Callable[[Path, int], None] = _ignore_checkpoint
    """(path, step): a complete checkpoint lies at `path`."""
    should_stop: Callable[[], bool] = never_stop
    """Asked between batches; when true the learner checkpoints and raises StopRequested."""
