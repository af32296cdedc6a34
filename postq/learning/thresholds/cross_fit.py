"""Cross-fitted predictions: every document is cut by thresholds that other documents tuned."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postq.contracts.recipes import ThresholdMethod
from postq.learning.thresholds.decision import apply_thresholds
from postq.learning.thresholds.exact import global_threshold
from postq.learning.thresholds.tuning import HALF, label_values

FOLDS = 5
OVERFIT_GAP = 0.05
"""A resubstituted micro- or macro-F1 this much above the cross-fitted one fires THRESHOLD_OVERFIT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossFit:
    """Thresholds for some documents, tuned on all others."""

    held_out: NDArray[np.bool_]
    """(docs,) True where a document had no say."""
    thresholds: NDArray[np.float64]
    """(labels,)"""


def cross_fits(
    truth: NDArray[np.bool_],
    scores: NDArray[np.floating],
    *,
    method: ThresholdMethod,
    seed: int = 42,
    folds: int = FOLDS,
) -> Iterator[CrossFit]:
    """Every document is held out once; with fewer documents than folds, leave-one-out."""
    documents = len(truth)
    fold = np.random.default_rng(seed).permutation(documents) % max(1, min(folds, documents))
    for at in np.unique(fold):
        others = fold != at
        common = global_threshold(truth[others], scores[others]) if truth[others].any() else HALF
        values, _ = label_values(truth[others], scores[others], method=method, common=common, seed=seed)
        yield CrossFit(held_out=~others, thresholds=values)


def cross_fitted_predictions(
    truth: NDArray[np.bool_],
    scores: NDArray[np.floating],
    *,
    method: ThresholdMethod,
    seed: int = 42,
    folds: int = FOLDS,
) -> NDArray[np.bool_]:
    """(docs, labels) predictions without a document's own say in its thresholds.

    The F1 of these is an honest estimate of the tuned thresholds; tuning and judging on the same documents
    is optimistic by several points where labels are rare.
    """
    predicted = np.zeros(truth.shape, np.bool_)
    for fit in cross_fits(truth, scores, method=method, seed=seed, folds=folds):
        predicted[fit.held_out] = apply_thresholds(scores[fit.held_out], fit.thresholds)
    return predicted
