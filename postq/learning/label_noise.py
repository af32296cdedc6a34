"""Confident learning: which given labels are doubtful, judged from scores the model did not learn to give.

Northcutt, Jiang and Chuang 2021, "Confident learning: estimating uncertainty in dataset labels" (JAIR 70),
with every label as a binary problem of its own. A document counts as confidently carrying a label when its
probability reaches the mean over documents given the label, and as confidently lacking it likewise. Documents
that are confidently the other way than given are the errors, so that scores need not be calibrated.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST_POSITIVES = 5
"""Labels given to fewer documents are left out: the mean over so few says nothing."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelNoise:
    """Which of (docs, labels) given labels are doubtful, and how many errors each label should have."""

    missing: Bools
    """(docs, labels) not given, but probably true."""
    wrong: Bools
    """(docs, labels) given, but probably false."""
    margins: NDArray[np.float64]
    """(docs, labels) probability of what is given minus that of the other; the lower, the more doubtful."""
    missing_rate: NDArray[np.float64]
    """(labels,) share of errors where the label is not given, among the confident ones."""
    wrong_rate: NDArray[np.float64]
    """(labels,) share of errors where it is given."""
    judged: Bools
    """(labels,) False where too few documents carry the label, or all do."""


def find_label_noise(truth: Bools, scores: NDArray[np.floating]) -> LabelNoise:
    """Judge (docs, labels) given labels by honest probabilities: out of fold, or of documents held out."""
    positive = np.asarray(scores, np.float64)
    carried = truth.sum(axis=0)
    judged = (carried >= FEWEST_POSITIVES) & (carried < len(truth))
    usual_positive = _means(positive, truth)
    usual_negative = _means(1 - positive, ~truth)
    may_carry, may_lack = positive >= usual_positive, 1 - positive >= usual_negative
    carries = may_carry & (~may_lack | (positive > 0.5))
    lacks = may_lack & ~carries
    missing, wrong = ~truth & carries & judged, truth & lacks & judged
    return LabelNoise(
        missing=missing,
        wrong=wrong,
        margins=np.where(truth, 2 * positive - 1, 1 - 2 * positive),
        missing_rate=_rate(missing, ~truth & lacks),
        wrong_rate=_rate(wrong, truth & carries),
        judged=judged,
    )


def _means(values: NDArray[np.float64], among: Bools) -> NDArray[np.float64]:
    """(labels,) mean of `values` over the documents `among` names; beyond reach where there are none."""
    count = among.sum(axis=0)
    sums = (values * among).sum(axis=0)
    return np.where(count > 0, sums / np.maximum(count, 1), np.inf)


def _rate(errors: Bools, right: Bools) -> NDArray[np.float64]:
    """(labels,) errors among all that are surely the one or the other; 0 where none are."""
    found, sure = errors.sum(axis=0), right.sum(axis=0)
    return np.asarray(found / np.maximum(found + sure, 1))
