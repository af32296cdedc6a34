"""Which epoch is best: one number from validation scores, larger is better."""

import numpy as np
from numpy.typing import NDArray

from postq.contracts.recipes import SelectionMetric
from postq.learning.detectors import mean_average_precision

Truth = NDArray[np.bool_]
Scores = NDArray[np.float32]


def selection_value(metric: SelectionMetric, truth: Truth, scores: Scores) -> float:
    """`metric` of (docs, labels) probabilities.

    `map` needs no threshold, so neither a shifted logit nor a rare label's cut can sway the choice; F1 at
    0.5 under a positive weight mostly measures the shift. Tuned F1 is resubstituted: good enough to rank
    epochs of one training by, not to report.
    """
    if metric == "map":
        return mean_average_precision(truth, scores)
    if metric == "f1_at_0.5":
        return micro_f1(truth, scores >= 0.5)
    if metric == "tuned_micro_f1":
        return best_global_f1(truth.ravel(), scores.ravel())
    columns = np.flatnonzero(truth.any(axis=0))
    return (
        float(np.mean([best_global_f1(truth[:, c], scores[:, c]) for c in columns])) if len(columns) else 0.0
    )


def micro_f1(truth: Truth, predicted: Truth) -> float:
    """2 TP / (2 TP + FP + FN) over all labels; 0 where nothing is right."""
    right = int((truth & predicted).sum())
    wrong = int((truth ^ predicted).sum())
    return 2 * right / (2 * right + wrong) if right else 0.0


def best_global_f1(truth: NDArray[np.bool_], scores: Scores) -> float:
    """The highest F1 any single threshold reaches on (n,) scores, cutting between distinct values only."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    cuts = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    f1 = 2 * hits[cuts] / (cuts + 1 + hits[-1])
    return float(f1.max(initial=0.0))
