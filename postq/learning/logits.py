"""Probabilities as log-odds and back, finite at both ends, for margins, weighted scores and histograms."""

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-7
"""Probabilities are kept this far from 0 and 1 before the logit is taken."""


def logit(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """log(p / (1 - p)), finite for 0 and 1 too."""
    kept = np.clip(np.asarray(probabilities, np.float64), EPSILON, 1 - EPSILON)
    return np.asarray(np.log(kept) - np.log1p(-kept))


def sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), without overflow for any x."""
    small = np.exp(-np.abs(logits))
    return np.asarray(np.where(logits >= 0, 1.0, small) / (1.0 + small))
