"""Detectors: pure functions that look at a training's facts and say what a careful reviewer would say."""

from postq.learning.detectors.course import (
    detect_diverged,
    detect_nan,
    detect_not_learning,
    detect_overfit,
    detect_schedule,
    detect_undertrained,
)
from postq.learning.detectors.detection import Detection
from postq.learning.detectors.documents import detect_empty, detect_leak, detect_truncated, f1_by_length
from postq.learning.detectors.predictions import detect_loud, detect_shy, detect_threshold_overfit

__all__ = [
    "Detection",
    "detect_diverged",
    "detect_empty",
    "detect_leak",
    "detect_loud",
    "detect_nan",
    "detect_not_learning",
    "detect_overfit",
    "detect_schedule",
    "detect_shy",
    "detect_threshold_overfit",
    "detect_truncated",
    "detect_undertrained",
    "f1_by_length",
]
