"""Hooks that write down what a learner said, and that ask it to stop at a chosen moment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from postq.learning.hooks import Hooks


class Recorder:
    """Everything one training reported."""

    def __init__(self, *, stop_after: int | None = None) -> None:
        self.notes: list[tuple[str, str]] = []
        self.progress: list[tuple[str, int, int, dict[str, float]]] = []
        self.checkpoints: list[tuple[Path, int]] = []
        self._stop_after = stop_after
        self._asked = 0

    @property
    def hooks(self) -> Hooks:
        """Callbacks that fill this recorder; `should_stop` turns true at its `stop_after`-th question."""
        return Hooks(
            progress=self._progress, note=self._note, checkpoint=self._checkpoint, should_stop=self._stop
        )

    @property
    def events(self) -> list[str]:
        """Names of the notes."""
        return [event for event, _ in self.notes]

    def _progress(self, phase: str, done: int, total: int, metrics: Mapping[str, float]) -> None:
        self.progress.append((phase, done, total, dict(metrics)))

    def _note(self, event: str, message: str, data: Mapping[str, Any]) -> None:
        del data
        self.notes.append((event, message))

    def _checkpoint(self, path: Path, step: int) -> None:
        self.checkpoints.append((path, step))

    def _stop(self) -> bool:
        self._asked += 1
        return self._stop_after is not None and self._asked >= self._stop_after
