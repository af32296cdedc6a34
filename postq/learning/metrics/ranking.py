"""Threshold-free quality: average precision per label and its mean over labels that occur."""

import numpy as np
from numpy.typing import NDArray


def average_precision(truth: NDArray[np.bool_], scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """(labels,) Σ (Rₙ − Rₙ₋₁)·Pₙ over distinct scores, scikit-learn's definition; NaN without positives."""
    columns = [_one(truth[:, label], scores[:, label]) for label in range(truth.shape[1])]
    return np.array(columns, np.float64)


def mean_average_precision(truth: NDArray[np.bool_], scores: NDArray[np.floating]) -> float | None:
    """Mean over the labels with a positive; None when there is none."""
    values = average_precision(truth, scores)
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _one(truth: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    positives = int(truth.sum())
    if not positives:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    last = run_ends(scores[order].astype(np.float64))
    hits = np.cumsum(truth[order], dtype=np.float64)[last]
    return float((np.diff(hits, prepend=0.0) * hits / (last + 1)).sum() / positives)


def run_ends(ordered: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the last of each run of equal scores in a sorted array."""
    if not len(ordered):
        return np.zeros(0, np.int64)
    return np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
