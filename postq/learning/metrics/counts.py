"""True positives and what follows from them: precision, recall and F1 per label, micro, macro, by sample."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RARE_TRAINING_DOCUMENTS = 50
"""Labels on fewer training documents than this make up the rare tier."""

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Per label (or per document): hits, predictions and truths."""

    hits: Floats
    predicted: Floats
    support: Floats

    @property
    def precision(self) -> Floats:
        """hits / predicted; 0 where nothing is predicted."""
        return _ratio(self.hits, self.predicted)

    @property
    def recall(self) -> Floats:
        """hits / support; 0 where there is nothing to find."""
        return _ratio(self.hits, self.support)

    @property
    def f1(self) -> Floats:
        """2·hits / (predicted + support); 0 where both are 0, as scikit-learn's zero_division=0."""
        return _ratio(2 * self.hits, self.predicted + self.support)


def count(truth: Bools, predicted: Bools, *, axis: int = 0) -> Counts:
    """Counts per label (axis 0) or per document (axis 1) of (docs, labels) matrices."""
    return Counts(
        hits=(truth & predicted).sum(axis=axis).astype(np.float64),
        predicted=predicted.sum(axis=axis).astype(np.float64),
        support=truth.sum(axis=axis).astype(np.float64),
    )


def total(counts: Counts, *, unlearned: int = 0) -> Counts:
    """Pooled over labels (micro); `unlearned` truths outside the label list count as missed."""
    return Counts(
        hits=np.array(counts.hits.sum()),
        predicted=np.array(counts.predicted.sum()),
        support=np.array(counts.support.sum() + unlearned),
    )


def summary(
    truth: Bools,
    predicted: Bools,
    *,
    training_support: NDArray[np.integer] | None = None,
    unlearned: int | None = 0,
) -> dict[str, Any]:
    """All thresholded metrics of one set of predictions, ready for JSON; None where not defined.

    macro runs over every label of the list, also those without support (their F1 is 0 or undefined → 0);
    `macro_f1_supported` leaves those out. `micro_f1_all_truths` also counts truths outside the list, where
    their number on these documents is known.
    """
    by_label, by_document = count(truth, predicted), count(truth, predicted, axis=1)
    micro = total(by_label)
    return {
        "documents": len(truth),
        **{f"micro_{name}": float(getattr(micro, name)) for name in ("precision", "recall", "f1")},
        **{f"macro_{name}": _mean(getattr(by_label, name)) for name in ("precision", "recall", "f1")},
        **{f"weighted_{name}": _weighted(by_label, name) for name in ("precision", "recall", "f1")},
        **{f"samples_{name}": _mean(getattr(by_document, name)) for name in ("precision", "recall", "f1")},
        "macro_f1_supported": _mean(by_label.f1[by_label.support > 0]),
        "micro_f1_all_truths": None if unlearned is None else float(total(by_label, unlearned=unlearned).f1),
        "rare_macro_f1": _rare(by_label, training_support),
        "exact_match": _mean((truth == predicted).all(axis=1)),
        "hamming_loss": _mean(truth != predicted),
        "labels_per_document": _mean(by_document.predicted),
        "true_labels_per_document": _mean(by_document.support),
        "empty_share": _mean(by_document.predicted == 0),
    }


def _rare(by_label: Counts, training_support: NDArray[np.integer] | None) -> float | None:
    if training_support is None:
        return None
    return _mean(by_label.f1[training_support < RARE_TRAINING_DOCUMENTS])


def _weighted(by_label: Counts, name: str) -> float:
    values, support = getattr(by_label, name), by_label.support
    return float((values * support).sum() / support.sum()) if support.sum() else 0.0


def _mean(values: NDArray[Any]) -> float | None:
    return float(np.mean(values)) if values.size else None


def _ratio(part: Floats, whole: Floats) -> Floats:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))
