"""Cross-fitted predictions: every document is cut by thresholds that other documents tuned."""

import numpy as np
from numpy.typing import NDArray

from postq.contracts.recipes import ThresholdMethod
from postq.learning.thresholds.exact import global_threshold
from postq.learning.thresholds.threshold_set import apply_thresholds
from postq.learning.thresholds.tuning import HALF, label_values

FOLDS = 5
OVERFIT_GAP = 0.05
"""A resubstituted micro- or macro-F1 this much above the cross-fitted one fires THRESHOLD_OVERFIT."""


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
    is optimistic by several points where labels are rare. With fewer documents than folds, leave-one-out.
    """
    documents = len(truth)
    fold = np.random.default_rng(seed).permutation(documents) % max(1, min(folds, documents))
    predicted = np.zeros(truth.shape, np.bool_)
    for held_out in np.unique(fold):
        others, own = fold != held_out, fold == held_out
        common = global_threshold(truth[others], scores[others]) if truth[others].any() else HALF
        values, _ = label_values(truth[others], scores[others], method=method, common=common, seed=seed)
        predicted[own] = apply_thresholds(scores[own], values)
    return predicted
