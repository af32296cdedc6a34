"""What came of training one model: trained, judged, and what detectors said of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from postq.learning.detectors import Detection
from postq.learning.hooks import Hooks
from postq.learning.judging import JudgedModel, Trained

MAIN, BASELINE = "main", "baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A trained and judged model."""

    trained: Trained
    judged: JudgedModel
    write_model_files: Callable[[Path], None]
    detections: list[dict[str, Any]] = field(default_factory=list)
    timing: dict[str, Any] = field(default_factory=dict)
    """Seconds, tokens and resumes: facts of this run, kept out of the bundle."""


def told(found: Detection, data: Mapping[str, Any], *, hooks: Hooks) -> dict[str, Any]:
    """The detection as metrics.json keeps it, told as a note."""
    facts = {"severity": found.severity, **data}
    hooks.note(found.event, found.message, facts)
    return {"event": found.event, "severity": found.severity, "message": found.message, "data": facts}
