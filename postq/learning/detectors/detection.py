"""What a detector found: an event on the job and a section in the report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Severity = Literal["info", "warning", "error"]
Matrix = NDArray[np.bool_]
Scores = NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Something worth an event on the job and a section in the report."""

    event: str
    severity: Severity
    message: str
    """One or two sentences: what was seen, and what to do about it."""
    data: Mapping[str, Any] = field(default_factory=dict)
