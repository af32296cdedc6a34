"""How far probabilities can be taken at their word: Brier score, expected calibration error, its bins."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15


def brier_score(truth: NDArray[np.bool_], scores: NDArray[np.floating]) -> float | None:
    """Mean squared difference of score and truth over all documents and labels."""
    if not truth.size:
        return None
    return float(np.mean((scores.astype(np.float64) - truth) ** 2))


def reliability_bins(truth: NDArray[np.bool_], scores: NDArray[np.floating]) -> list[dict[str, Any]]:
    """Equal-width bins of all (document, label) scores: how many, their mean, and the share that is true."""
    flat = np.clip(scores.ravel().astype(np.float64), 0, 1)
    index = np.minimum((flat * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(index, minlength=BINS)
    score = np.bincount(index, weights=flat, minlength=BINS)
    true = np.bincount(index, weights=truth.ravel().astype(np.float64), minlength=BINS)
    return [
        {
            "from": bin_ / BINS,
            "to": (bin_ + 1) / BINS,
            "count": int(count[bin_]),
            "mean_score": float(score[bin_] / count[bin_]),
            "true_share": float(true[bin_] / count[bin_]),
        }
        for bin_ in range(BINS)
        if count[bin_]
    ]


def expected_calibration_error(truth: NDArray[np.bool_], scores: NDArray[np.floating]) -> float | None:
    """Mean over the bins, weighted by size, of |mean score − share that is true|."""
    if not truth.size:
        return None
    gaps = (
        row["count"] * abs(row["mean_score"] - row["true_share"]) for row in reliability_bins(truth, scores)
    )
    return float(sum(gaps) / truth.size)
