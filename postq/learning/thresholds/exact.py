"""Exact optima: one threshold for all labels, one per label, and per label for micro-F1 over all."""

import numpy as np
from numpy.typing import NDArray

from postq.learning.thresholds.sweep import Sweep, best_cut, sweep


def global_threshold(truth: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """The one threshold with the highest micro-F1 over all labels; (docs, labels) both."""
    pooled = sweep(truth, scores)
    return float(pooled.thresholds[best_cut(pooled.f1())])


def label_sweeps(truth: NDArray[np.bool_], scores: NDArray[np.floating]) -> list[Sweep]:
    """One sweep per column."""
    return [sweep(truth[:, label], scores[:, label]) for label in range(truth.shape[1])]


def per_label_thresholds(truth: NDArray[np.bool_], scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """(labels,) the threshold with the highest F1 of each label (SCut), exact in O(n log n).

    A label without positives is never predicted.
    """
    sweeps = label_sweeps(truth, scores)
    return np.array([one.thresholds[best_cut(one.f1())] for one in sweeps], np.float64)


def micro_thresholds(truth: NDArray[np.bool_], scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """(labels,) thresholds with the highest micro-F1 that per-label thresholds can reach: the global optimum.

    Dinkelbach's method for 2·ΣTP / (Σpredicted + Σpositives): given the ratio F, each label alone takes the
    cut with the largest 2·TP − F·predicted; F rises strictly until it no longer changes.
    """
    sweeps = label_sweeps(truth, scores)
    return _at(sweeps, micro_cuts(sweeps))


def micro_cuts(sweeps: list[Sweep]) -> list[int]:
    """Index of the chosen cut of each label."""
    ratio = 0.0
    cuts = [0] * len(sweeps)
    while True:
        chosen = [best_cut(2 * one.hits - ratio * one.predicted) for one in sweeps]
        reached = micro_f1(sweeps, chosen)
        if reached <= ratio:
            return cuts
        ratio, cuts = reached, chosen


def micro_f1(sweeps: list[Sweep], cuts: list[int]) -> float:
    """Micro-F1 of a choice of cuts; 0 when there is nothing to predict."""
    hits = sum(one.hits[cut] for one, cut in zip(sweeps, cuts, strict=True))
    total = sum(one.predicted[cut] + one.positives for one, cut in zip(sweeps, cuts, strict=True))
    return float(2 * hits / total) if total else 0.0


def micro_macro_thresholds(truth: NDArray[np.bool_], scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """(labels,) thresholds that raise micro-F1 + macro-F1 together, as in Lin and Lin (CIKM 2023).

    Coordinate ascent: each label in turn takes its exactly best cut, the others held, until none moves.
    From the micro-optimal and the macro-optimal start; the better end wins. A local optimum.
    """
    sweeps = label_sweeps(truth, scores)
    starts = [micro_cuts(sweeps), [best_cut(one.f1()) for one in sweeps]]
    ends = [_ascend(sweeps, start) for start in starts]
    return _at(sweeps, max(ends, key=lambda cuts: _micro_plus_macro(sweeps, cuts)))


def _ascend(sweeps: list[Sweep], cuts: list[int]) -> list[int]:
    cuts = list(cuts)
    hits = sum(one.hits[cut] for one, cut in zip(sweeps, cuts, strict=True))
    total = sum(one.predicted[cut] + one.positives for one, cut in zip(sweeps, cuts, strict=True))
    moved = True
    while moved:
        moved = False
        for label, one in enumerate(sweeps):
            other_hits, other_total = hits - one.hits[cuts[label]], total - one.predicted[cuts[label]]
            totals = np.maximum(other_total + one.predicted, 1)
            gain = one.f1() / len(sweeps) + 2 * (other_hits + one.hits) / totals
            best = best_cut(gain)
            if gain[best] > gain[cuts[label]] + 1e-12:
                moved, cuts[label] = True, best
            hits, total = other_hits + one.hits[cuts[label]], other_total + one.predicted[cuts[label]]
    return cuts


def _micro_plus_macro(sweeps: list[Sweep], cuts: list[int]) -> float:
    macro = np.mean([one.f1()[cut] for one, cut in zip(sweeps, cuts, strict=True)])
    return micro_f1(sweeps, cuts) + float(macro)


def _at(sweeps: list[Sweep], cuts: list[int]) -> NDArray[np.float64]:
    return np.array([one.thresholds[cut] for one, cut in zip(sweeps, cuts, strict=True)], np.float64)
