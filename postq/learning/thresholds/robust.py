"""Thresholds that generalise where labels are rare: bagged over bootstrap samples, shrunk to the global."""

import numpy as np
from numpy.typing import NDArray

from postq.learning.metrics.ranking import run_ends
from postq.learning.thresholds.sweep import from_logit, midpoints, to_logit

BAGS = 25
"""Bootstrap samples of documents."""
SHRINKAGE_POSITIVES = 5.0
"""k in λ = n₊ / (n₊ + k): with this many positives a label's own threshold counts half."""
FEWEST_POSITIVES = 5
"""Labels with fewer positives take the global threshold, flagged."""


def bag_logits(truth: NDArray[np.bool_], scores: NDArray[np.floating], *, seed: int) -> NDArray[np.float64]:
    """(bags, labels) logits of each label's F1-best threshold on bootstrap samples of the documents.

    A bag without a positive of the label gives NaN: it says nothing about where to cut.
    """
    weights = draw_documents(len(truth), seed=seed)
    columns = [_bag_label(truth[:, label], scores[:, label], weights) for label in range(truth.shape[1])]
    return np.stack(columns, axis=1) if columns else np.zeros((BAGS, 0))


def draw_documents(documents: int, *, seed: int) -> NDArray[np.float64]:
    """(docs, bags) how often each document was drawn into each bag."""
    if not documents:
        return np.zeros((0, BAGS))
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(documents, np.full(documents, 1 / documents), BAGS)
    return draws.T.astype(np.float64)


def _bag_label(
    truth: NDArray[np.bool_], scores: NDArray[np.floating], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(bags,) for one label: one sort for all bags, a weighted running count per bag."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order].astype(np.float64)
    last = run_ends(ordered)
    if not len(last):
        return np.full(weights.shape[1], np.nan)
    weighted = weights[order]
    predicted = np.cumsum(weighted, axis=0)[last]
    hits = np.cumsum(weighted * truth[order][:, None], axis=0)[last]
    positives = weighted[truth[order]].sum(axis=0)
    total = np.maximum(predicted + positives, 1)
    cuts = np.argmax(2 * hits / total, axis=0)
    logits = to_logit(midpoints(ordered, last)[cuts])
    return np.where(positives > 0, logits, np.nan)


def bagged_thresholds(logits: NDArray[np.float64], *, fallback: float) -> NDArray[np.float64]:
    """(labels,) mean of the bags' logits, back as probabilities; `fallback` where no bag had a positive."""
    known = ~np.isnan(logits)
    sums = np.where(known, logits, 0.0).sum(axis=0)
    means = sums / np.maximum(known.sum(axis=0), 1)
    return np.where(known.any(axis=0), from_logit(means), fallback)


def shrunk_thresholds(
    thresholds: NDArray[np.float64], *, positives: NDArray[np.int64], towards: float
) -> NDArray[np.float64]:
    """(labels,) each threshold drawn towards the global one in logit space, the more the rarer the label."""
    own = positives / (positives + SHRINKAGE_POSITIVES)
    return from_logit(own * to_logit(thresholds) + (1 - own) * to_logit(towards))


def intervals(logits: NDArray[np.float64]) -> list[tuple[float, float] | None]:
    """5th and 95th percentile of each label's bagged thresholds; None where no bag had a positive."""
    found: list[tuple[float, float] | None] = []
    for column in logits.T:
        known = column[~np.isnan(column)]
        if not len(known):
            found.append(None)
            continue
        low, high = np.percentile(known, [5, 95])
        found.append((float(from_logit(low)), float(from_logit(high))))
    return found
