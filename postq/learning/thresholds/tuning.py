"""Tuning a ThresholdSet by any method, with the provenance of every label's threshold."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from postq.contracts.recipes import ThresholdMethod
from postq.counted import counted
from postq.errors import LabelSetMismatch
from postq.learning.thresholds.decision import apply_thresholds, require_finite
from postq.learning.thresholds.exact import (
    global_threshold,
    micro_macro_thresholds,
    micro_thresholds,
    per_label_thresholds,
)
from postq.learning.thresholds.robust import (
    FEWEST_POSITIVES,
    bag_logits,
    bagged_thresholds,
    intervals,
    shrunk_thresholds,
)
from postq.learning.thresholds.threshold_set import (
    LabelThreshold,
    ThresholdSet,
    ThresholdSource,
    TunedOn,
)

HALF = 0.5
Truth = NDArray[np.bool_]
Scores = NDArray[np.floating]

_JOINT: dict[str, Callable[[Truth, Scores], NDArray[np.float64]]] = {
    "per_label": per_label_thresholds,
    "micro": micro_thresholds,
    "micro_macro": micro_macro_thresholds,
}
_SOURCES: dict[ThresholdMethod, ThresholdSource] = {
    "half": "half",
    "global": "global",
    "per_label": "exact",
    "bagged": "bagged",
    "shrunk": "shrunk",
    "micro": "micro",
    "micro_macro": "micro_macro",
}


def tune_thresholds(
    truth: Truth,
    scores: Scores,
    *,
    labels: tuple[str, ...],
    method: ThresholdMethod,
    score_space: str,
    tuned_on: TunedOn,
    seed: int = 42,
) -> ThresholdSet:
    """Thresholds for (docs, labels) probabilities, tuned on `truth` by `method`.

    A label without positives here takes the global threshold, flagged as fallback; so does one with fewer
    than FEWEST_POSITIVES under `bagged` and `shrunk`. Without a single positive every threshold is 0.5.
    Raises LabelSetMismatch when shapes do not fit, IntegrityError on scores that are not numbers.
    """
    if truth.shape != scores.shape or truth.shape[1] != len(labels):
        raise LabelSetMismatch(
            f"Truth {truth.shape} and scores {scores.shape} do not fit each other and "
            f"{counted(len(labels), 'label')}.",
            hint="Score with the same bundle that the labels come from.",
        )
    require_finite(scores)
    positives = truth.sum(axis=0)
    common = global_threshold(truth, scores) if positives.any() else HALF
    values, fallback = label_values(truth, scores, method=method, common=common, seed=seed)
    bags = _bag_intervals(truth, scores, method=method, seed=seed)
    predicted = apply_thresholds(scores, values)
    hits = (predicted & truth).sum(axis=0)
    entries = [
        LabelThreshold(
            label=label,
            threshold=float(values[index]),
            source="fallback_few_positives" if fallback[index] else _SOURCES[method],
            positives=int(positives[index]),
            interval=bags[index],
            expected_precision=_share(hits[index], predicted[:, index].sum()),
            expected_recall=_share(hits[index], positives[index]),
        )
        for index, label in enumerate(labels)
    ]
    return ThresholdSet(
        method=method,
        score_space=score_space,
        tuned_on="nothing" if method == "half" else tuned_on,
        documents=len(truth),
        global_threshold=common,
        labels=tuple(entries),
    )


def label_values(
    truth: Truth, scores: Scores, *, method: ThresholdMethod, common: float, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(labels,) thresholds by `method`, and (labels,) True where the fallback to `common` was taken."""
    positives = truth.sum(axis=0)
    if method in ("half", "global"):
        value = HALF if method == "half" else common
        return np.full(truth.shape[1], value), np.zeros(truth.shape[1], np.bool_)
    if method in _JOINT:
        values, fewest = _JOINT[method](truth, scores), 1
    else:
        values = bagged_thresholds(bag_logits(truth, scores, seed=seed), fallback=common)
        fewest = FEWEST_POSITIVES
        if method == "shrunk":
            values = shrunk_thresholds(values, positives=positives, towards=common)
    fallback = positives < fewest
    return np.where(fallback, common, values), fallback


def _bag_intervals(
    truth: Truth, scores: Scores, *, method: ThresholdMethod, seed: int
) -> list[tuple[float, float] | None]:
    if method in ("half", "global") or not len(truth):
        return [None] * truth.shape[1]
    return intervals(bag_logits(truth, scores, seed=seed))


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None
