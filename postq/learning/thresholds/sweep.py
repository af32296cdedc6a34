"""All useful cuts of one label's scores: how many documents each predicts, and how many rightly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postq.learning.metrics.ranking import run_ends
from postq.learning.thresholds.threshold_set import NEVER

LOGIT_BOUND = 15.0
"""Thresholds are averaged as logits within ± this, so that 0 and 1 stay finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Cuts from "predict none" downwards; equal scores are never separated.

    Only cuts that gain a hit over the one before are kept: any other predicts more documents for the same
    hits, which no F1 rewards. So a label has at most as many cuts as positives, plus one.
    """

    thresholds: NDArray[np.float64]
    """(cuts,) descending, from NEVER; each half-way between two distinct scores."""
    predicted: NDArray[np.float64]
    """(cuts,) documents at or over the threshold."""
    hits: NDArray[np.float64]
    """(cuts,) of those, documents that carry the label."""
    positives: float
    """Documents that carry the label."""

    def f1(self) -> NDArray[np.float64]:
        """(cuts,) 2·TP / (predicted + positives); 0 where both are 0, as scikit-learn has it."""
        total = self.predicted + self.positives
        return np.divide(2 * self.hits, total, out=np.zeros_like(total), where=total > 0)


def sweep(truth: NDArray[np.bool_], scores: NDArray[np.floating]) -> Sweep:
    """Sort once, O(n log n); `truth` and `scores` are (docs,) or anything that ravels to it."""
    truth, values = truth.ravel(), scores.ravel().astype(np.float64)
    order = np.argsort(-values, kind="stable")
    ordered, hits = values[order], np.cumsum(truth[order], dtype=np.float64)
    last = run_ends(ordered)
    gains = np.diff(hits[last], prepend=0.0) > 0
    return Sweep(
        thresholds=np.concatenate([[NEVER], midpoints(ordered, last)[gains]]),
        predicted=np.concatenate([[0.0], last[gains] + 1.0]),
        hits=np.concatenate([[0.0], hits[last[gains]]]),
        positives=float(truth.sum()),
    )


def midpoints(ordered: NDArray[np.float64], last: NDArray[np.int64]) -> NDArray[np.float64]:
    """Half-way between each run of descending scores and the next lower one; the lowest run against 0."""
    if not len(last):
        return np.zeros(0)
    upper = ordered[last]
    lower = np.append(ordered[last[:-1] + 1], min(0.0, upper[-1]))
    middle = (upper + lower) / 2
    # Between neighbouring floats there is no middle: the upper score itself still separates them.
    return np.where(middle > lower, middle, upper)


def best_cut(values: NDArray[np.float64]) -> int:
    """Index of the best value; among equals the first, which predicts least."""
    return int(np.argmax(values))


def to_logit(probabilities: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """Log-odds, bounded by ± LOGIT_BOUND; NEVER counts as 1."""
    bound = 1 / (1 + np.exp(-LOGIT_BOUND))
    clipped = np.clip(np.asarray(probabilities, np.float64), 1 - bound, bound)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def from_logit(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logistic function."""
    return np.asarray(1 / (1 + np.exp(-logits)))
