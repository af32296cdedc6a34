"""Which epoch is best: one number from validation scores, larger is better."""

import numpy as np
from numpy.typing import NDArray

from postq.contracts.recipes import SelectionMetric
from postq.learning.metrics.counts import count, total
from postq.learning.metrics.ranking import mean_average_precision
from postq.learning.thresholds.exact import label_sweeps
from postq.learning.thresholds.sweep import sweep

Truth = NDArray[np.bool_]
Scores = NDArray[np.float32]


def selection_value(metric: SelectionMetric, truth: Truth, scores: Scores) -> float:
    """`metric` of (docs, labels) probabilities; 0 where there is nothing to find.

    `map` needs no threshold, so neither a shifted logit nor a rare label's cut can sway the choice; F1 at
    0.5 under a positive weight mostly measures the shift. Tuned F1 is resubstituted: good enough to rank
    epochs of one training by, not to report.
    """
    if metric == "map":
        return mean_average_precision(truth, scores) or 0.0
    if metric == "f1_at_0.5":
        return micro_f1(truth, scores >= 0.5)
    if metric == "tuned_micro_f1":
        return float(sweep(truth, scores).f1().max())
    occurring = truth.any(axis=0)
    each = [one.f1().max() for one in label_sweeps(truth[:, occurring], scores[:, occurring])]
    return float(np.mean(each)) if each else 0.0


def micro_f1(truth: Truth, predicted: Truth) -> float:
    """Micro-F1 of (docs, labels) decisions."""
    return float(total(count(truth, predicted)).f1)
