"""Curves from stored scores: precision against recall, and F1 over one threshold for all labels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from postq.learning.bundle.score_file import ScoredPart
from postq.learning.metrics.counts import count, total
from postq.learning.metrics.ranking import average_precision, run_ends
from postq.learning.thresholds.threshold_set import ThresholdSet
from postq.reports.content import Curve, Sweep

MOST_POINTS = 240
"""Points kept of a curve; more cannot be seen and only make the file heavy."""
SHOWN_LABELS = 4
GRID = np.round(np.arange(0.005, 1.0, 0.005), 3)

Bools = NDArray[np.bool_]


def precision_recall_curves(part: ScoredPart, names: Sequence[str], *, chosen: Sequence[str]) -> list[Curve]:
    """All labels pooled, then each chosen label that occurs; recall is x, precision y."""
    curves = [pooled_curve(part, "all labels pooled")]
    for name in chosen:
        at = names.index(name)
        if part.truth[:, at].any():
            found = float(average_precision(part.truth[:, [at]], part.scores[:, [at]])[0])
            curves.append(_curve(name, part.truth[:, at], part.scores[:, at], note=f"AP {found:.2f}"))
    return curves


def pooled_curve(part: ScoredPart, name: str) -> Curve:
    """All labels pooled, under a name of the caller's, with the average precision of the pool."""
    column = part.truth.reshape(-1, 1), part.scores.reshape(-1, 1)
    note = f"AP {float(average_precision(*column)[0]):.2f}" if part.truth.any() else ""
    return _curve(name, part.truth, part.scores, note=note, pooled=True)


def telling_labels(names: Sequence[str], truth: Bools) -> list[str]:
    """Four labels that span the supports, from the most frequent to the rarest with at least five."""
    support = truth.sum(axis=0)
    order = [int(at) for at in np.argsort(-support, kind="stable") if support[at] >= 5]
    picks = np.unique(np.linspace(0, max(len(order) - 1, 0), SHOWN_LABELS).round().astype(int))
    return [names[order[int(pick)]] for pick in picks if order]


def sweep_thresholds(part: ScoredPart, thresholds: ThresholdSet) -> Sweep:
    """Micro- and macro-F1 of one threshold for all labels over a grid from 0.005 to 0.995."""
    hits, predicted = _counts_over_grid(part.truth, part.scores)
    support = part.truth.sum(axis=0).astype(np.float64)
    macro = _ratio(2 * hits, predicted + support).mean(axis=1)
    micro = _ratio(2 * hits.sum(axis=1), predicted.sum(axis=1) + support.sum())
    counts = count(part.truth, thresholds.decide(part.scores))
    return Sweep(
        thresholds=tuple(GRID.tolist()),
        micro=tuple(micro.tolist()),
        macro=tuple(macro.tolist()),
        global_threshold=thresholds.global_threshold,
        default_micro=float(total(counts).f1),
        default_macro=float(counts.f1.mean()),
    )


def _counts_over_grid(
    truth: Bools, scores: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(grid, labels) hits and predictions: two binary searches a label instead of a pass per threshold."""
    hits = np.empty((len(GRID), truth.shape[1]))
    predicted = np.empty_like(hits)
    for at in range(truth.shape[1]):
        column = scores[:, at].astype(np.float64)
        for target, values in ((predicted, column), (hits, column[truth[:, at]])):
            target[:, at] = len(values) - np.searchsorted(np.sort(values), GRID, side="left")
    return hits, predicted


def _curve(
    name: str, truth: Bools, scores: NDArray[np.floating], *, note: str, pooled: bool = False
) -> Curve:
    flat, values = truth.ravel(), scores.ravel().astype(np.float64)
    order = np.argsort(-values, kind="stable")
    last = run_ends(values[order])
    hits = np.cumsum(flat[order], dtype=np.float64)[last]
    recall, precision = hits / max(flat.sum(), 1), hits / (last + 1)
    # Evenly spaced in recall, so that the long tail of low scores does not eat all points.
    kept = np.unique(np.searchsorted(recall, np.linspace(0, recall[-1] if len(recall) else 0, MOST_POINTS)))
    kept = kept[kept < len(recall)]
    points = tuple(recall[kept].tolist()), tuple(precision[kept].tolist())
    return Curve(name=name, x=points[0], y=points[1], note=note, pooled=pooled)


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))
