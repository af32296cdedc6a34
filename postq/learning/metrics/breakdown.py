"""The same predictions label by label, with intervals, and by length of document."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from postq.learning.metrics.counts import count, total
from postq.learning.metrics.ranking import average_precision
from postq.learning.metrics.wilson import wilson_interval

LENGTH_EDGES = (500, 1_000, 2_000, 4_000, 8_000, 16_000)
"""Words at which documents are divided into length buckets."""


def by_label(
    truth: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    scores: NDArray[np.floating],
    *,
    labels: tuple[str, ...],
    training_support: NDArray[np.integer] | None = None,
) -> list[dict[str, Any]]:
    """One row a label: support, precision and recall with 95 % Wilson intervals, F1, average precision."""
    counts = count(truth, predicted)
    precision_of = average_precision(truth, scores)
    return [
        {
            "label": label,
            "training_support": None if training_support is None else int(training_support[index]),
            "support": int(counts.support[index]),
            "predicted": int(counts.predicted[index]),
            "hits": int(counts.hits[index]),
            "precision": float(counts.precision[index]),
            "precision_interval": wilson_interval(counts.hits[index], counts.predicted[index]),
            "recall": float(counts.recall[index]),
            "recall_interval": wilson_interval(counts.hits[index], counts.support[index]),
            "f1": float(counts.f1[index]),
            "average_precision": None if np.isnan(precision_of[index]) else float(precision_of[index]),
        }
        for index, label in enumerate(labels)
    ]


def by_length(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], word_counts: NDArray[np.integer]
) -> list[dict[str, Any]]:
    """One row a length bucket that holds documents: micro-F1 and macro-F1 over labels that occur in it."""
    bucket = np.searchsorted(LENGTH_EDGES, word_counts, side="right")
    return [_bucket(truth[bucket == at], predicted[bucket == at], int(at)) for at in np.unique(bucket)]


def _bucket(truth: NDArray[np.bool_], predicted: NDArray[np.bool_], at: int) -> dict[str, Any]:
    counts = count(truth, predicted)
    occurring = counts.support > 0
    return {
        "from_words": LENGTH_EDGES[at - 1] if at else 0,
        "to_words": LENGTH_EDGES[at] if at < len(LENGTH_EDGES) else None,
        "documents": len(truth),
        "micro_f1": float(total(counts).f1),
        "macro_f1_supported": float(counts.f1[occurring].mean()) if occurring.any() else None,
        "labels_per_document": float(predicted.sum(axis=1).mean()),
        "true_labels_per_document": float(truth.sum(axis=1).mean()),
    }
