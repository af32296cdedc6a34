"""Making probabilities mean what they say: one temperature for all, or two numbers per label (Platt)."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from postq.contracts.record import Record
from postq.counted import counted
from postq.errors import IntegrityError, LabelSetMismatch, NotTrainable
from postq.learning.thresholds.decision import require_finite
from postq.learning.thresholds.sweep import from_logit, to_logit
from postq.learning.thresholds.threshold_set import TunedOn

FEWEST_POSITIVES = 5
"""Labels with fewer positives keep their scores: two numbers cannot be learned from them."""
NEWTON_STEPS = 50
RIDGE = 1e-6

CalibrationMethod = Literal["temperature", "platt"]


class Calibration(Record):
    """score → logistic(slope · logit(score) + offset), per label; rank order within a label never changes."""

    method: CalibrationMethod
    score_space: str
    """The space of the scores it takes; what it gives is of space `<score_space>+<method>`."""
    fitted_on: TunedOn
    labels: tuple[str, ...]
    slopes: tuple[float, ...]
    offsets: tuple[float, ...]
    untouched: tuple[str, ...] = ()
    """Labels left as they were, for want of positives or because the fit would turn their ranking round."""

    @property
    def calibrated_space(self) -> str:
        """Thresholds for raw scores are refused for calibrated ones, and the other way round."""
        return f"{self.score_space}+{self.method}"

    def apply(self, scores: NDArray[np.floating], *, score_space: str) -> NDArray[np.float32]:
        """(docs, labels) calibrated probabilities; raises IntegrityError for scores of another space."""
        if score_space != self.score_space:
            raise IntegrityError(
                f"The calibration takes scores of space '{self.score_space}', not '{score_space}'.",
                hint="Fit a calibration on this model's own validation scores.",
            )
        require_finite(scores)
        logits = np.asarray(self.slopes) * to_logit(scores) + np.asarray(self.offsets)
        return from_logit(logits).astype(np.float32)


def fit_calibration(
    truth: NDArray[np.bool_],
    scores: NDArray[np.floating],
    *,
    labels: tuple[str, ...],
    method: CalibrationMethod,
    score_space: str,
    fitted_on: TunedOn,
) -> Calibration:
    """Fit on (docs, labels) scores of documents the model was not fitted on: validation or out of fold.

    `temperature` (Guo et al. 2017) divides all logits by one number; `platt` (Platt 1999, with his smoothed
    targets) fits slope and offset per label. Raises NotTrainable when there is no positive, and
    IntegrityError when asked to fit on anything but honest scores.
    """
    if fitted_on == "nothing":
        raise IntegrityError(
            "A calibration fitted on training scores would only repeat the model's overconfidence.",
            hint="Fit it on validation or out-of-fold scores.",
        )
    if truth.shape != scores.shape or truth.shape[1] != len(labels):
        raise LabelSetMismatch(
            f"Truth {truth.shape} and scores {scores.shape} do not fit each other and "
            f"{counted(len(labels), 'label')}.",
            hint="Score with the same bundle that the labels come from.",
        )
    require_finite(scores)
    if not truth.any():
        raise NotTrainable(
            "No document carries a label, so there is nothing to calibrate against.",
            hint="Use a validation split with labelled documents.",
        )
    fit = _temperature if method == "temperature" else _platt
    slopes, offsets, usable = fit(truth, to_logit(scores))
    return Calibration(
        method=method,
        score_space=score_space,
        fitted_on=fitted_on,
        labels=labels,
        slopes=tuple(np.where(usable, slopes, 1.0).tolist()),
        offsets=tuple(np.where(usable, offsets, 0.0).tolist()),
        untouched=tuple(label for label, fine in zip(labels, usable, strict=True) if not fine),
    )


_Fit = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]


def _temperature(truth: NDArray[np.bool_], logits: NDArray[np.float64]) -> _Fit:
    """One slope over all documents and labels; no offset."""
    slope = 1.0
    for _ in range(NEWTON_STEPS):
        fitted = from_logit(slope * logits)
        gradient = float(((fitted - truth) * logits).sum())
        bend = float((fitted * (1 - fitted) * logits**2).sum())
        # Halved at most: a Newton step from far away must not turn the slope round.
        slope = max(slope - gradient / (bend + RIDGE), slope / 2)
    labels = truth.shape[1]
    return np.full(labels, slope), np.zeros(labels), np.ones(labels, np.bool_)


def _platt(truth: NDArray[np.bool_], logits: NDArray[np.float64]) -> _Fit:
    """Slope and offset of every label at once, by damped Newton steps on Platt's smoothed targets."""
    positives = truth.sum(axis=0)
    high = (positives + 1) / (positives + 2)
    low = 1 / (len(truth) - positives + 2)
    targets = np.where(truth, high, low)
    slopes, offsets = np.ones(truth.shape[1]), np.zeros(truth.shape[1])
    for _ in range(NEWTON_STEPS):
        step_slope, step_offset = _newton_step(targets, logits, slopes, offsets)
        length = np.maximum(np.hypot(step_slope, step_offset), 1.0)
        slopes, offsets = slopes - step_slope / length, offsets - step_offset / length
    usable = (positives >= FEWEST_POSITIVES) & (slopes > 0) & np.isfinite(slopes) & np.isfinite(offsets)
    return slopes, offsets, np.asarray(usable)


def _newton_step(
    targets: NDArray[np.float64],
    logits: NDArray[np.float64],
    slopes: NDArray[np.float64],
    offsets: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Solve the 2 × 2 system of each label."""
    fitted = from_logit(slopes * logits + offsets)
    wrong, weight = fitted - targets, fitted * (1 - fitted)
    first, second = (wrong * logits).sum(axis=0), wrong.sum(axis=0)
    a = (weight * logits**2).sum(axis=0) + RIDGE
    b = (weight * logits).sum(axis=0)
    d = weight.sum(axis=0) + RIDGE
    determinant = np.maximum(a * d - b * b, RIDGE**2)
    return (d * first - b * second) / determinant, (a * second - b * first) / determinant
