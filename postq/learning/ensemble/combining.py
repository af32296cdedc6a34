"""How members' scores become one: weighted mean of logits, a stack, a cascade, or their decisions."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from postq.contracts.recipes import EnsembleMethod
from postq.contracts.record import Record
from postq.counted import counted
from postq.errors import BundleUnusable
from postq.learning.ensemble.cascade import Cascade
from postq.learning.ensemble.stacking import Stack
from postq.learning.logits import logit, sigmoid
from postq.learning.metrics.ranking import average_precision

COMBINATION = "ensemble.json"
STEPS = 21
"""Weights tried between 0 and 1."""
HALF_TRUSTED = 20
"""Validation positives at which a label's weight goes half the way from 1/2 to the best one found."""
BELOW_HALF = np.nextafter(np.float32(0.5), np.float32(0))

Scores = NDArray[np.float32]


class Combination(Record):
    """Stored as `ensemble.json`."""

    format: int = 1
    method: EnsembleMethod
    weights: tuple[float, ...]
    """(labels,) share of the first of two members, the other has the rest; used by `mean_logit` only."""
    stack: Stack | None = None
    """The fitted model of `stacking`; None for the other methods."""
    cascade: Cascade | None = None
    """What `cascade` defers; None for the other methods."""

    def combine(self, scores: Sequence[Scores], *, thresholds: Sequence[NDArray[np.float64]]) -> Scores:
        """(docs, labels) probabilities from the members' own, given their (labels,) thresholds."""
        if self.stack is not None:
            return self.stack.apply(scores)
        if self.cascade is not None:
            deferred = self.cascade.deferred(scores[0], thresholds[0])
            cheap, dear = (settled([each], [cut]) for each, cut in zip(scores, thresholds, strict=True))
            return np.where(deferred[:, None], dear, cheap)
        if self.method == "mean_logit":
            first, second = scores
            share = np.array(self.weights)
            return np.asarray(sigmoid(share * logit(first) + (1 - share) * logit(second)), np.float32)
        return settled(scores, thresholds, both=self.method == "and")

    def write(self, folder: Path) -> None:
        """Store in an ensemble's folder."""
        (folder / COMBINATION).write_text(
            self.model_dump_json(indent=1, exclude_none=True) + "\n", encoding="utf-8"
        )


def read_combination(folder: Path, *, labels: int, members: int = 2) -> Combination:
    """The combination stored in an ensemble's folder. Raises BundleUnusable."""
    try:
        found = Combination.model_validate(json.loads((folder / COMBINATION).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as exc:
        raise BundleUnusable(
            f"{COMBINATION} of {folder} is missing or unreadable.",
            hint="Make the ensemble again with: postq bundles ensemble.",
        ) from exc
    if len(found.weights) != labels:
        raise BundleUnusable(
            f"{COMBINATION} of {folder} weighs {counted(len(found.weights), 'label')}, "
            f"the bundle has {labels}.",
            hint="Make the ensemble again with: postq bundles ensemble.",
        )
    stacked = found.stack is not None and found.stack.fits(members=members, labels=labels)
    cascaded = found.cascade is not None and members == 2 and found.cascade.fits(labels=labels)
    if stacked != (found.method == "stacking") or cascaded != (found.method == "cascade"):
        raise BundleUnusable(
            f"{COMBINATION} of {folder} does not hold what {found.method} needs for {members} members and "
            f"{counted(labels, 'label')}.",
            hint="Make the ensemble again with: postq bundles ensemble.",
        )
    return found


def best_weights(truth: NDArray[np.bool_], first: Scores, second: Scores) -> NDArray[np.float64]:
    """(labels,) weights of the first member, chosen by average precision and shrunk to 1/2.

    Average precision needs no threshold and does not mind that members are calibrated differently. Among
    equals the weight nearest 1/2 wins. With n positives the found weight counts n / (n + HALF_TRUSTED):
    few positives tell little, and equal weights are hard to beat (the forecast combination puzzle).
    """
    candidates = np.linspace(0, 1, STEPS)
    logits = logit(first), logit(second)
    found = np.array(
        [average_precision(truth, share * logits[0] + (1 - share) * logits[1]) for share in candidates]
    )
    gain = np.nan_to_num(found, nan=0.0).round(12)
    tie_break = -np.abs(candidates - 0.5)[:, None] * 1e-9
    best = candidates[(gain + tie_break).argmax(axis=0)]
    positives = truth.sum(axis=0)
    return np.asarray(0.5 + (best - 0.5) * positives / (positives + HALF_TRUSTED))


def settled(
    scores: Sequence[Scores], thresholds: Sequence[NDArray[np.float64]], *, both: bool = True
) -> Scores:
    """The smallest or largest margin to the members' thresholds; at least 0.5 exactly when decided."""
    margins = [_margins(each, cut) for each, cut in zip(scores, thresholds, strict=True)]
    decisions = [each.astype(np.float64) >= cut for each, cut in zip(scores, thresholds, strict=True)]
    margin = (np.minimum if both else np.maximum).reduce(margins)
    decided = (np.logical_and if both else np.logical_or).reduce(decisions)
    combined = np.asarray(sigmoid(margin), np.float32)
    # Rounding to float32 must not move a score across 0.5.
    half = np.float32(0.5)
    return np.where(decided, np.maximum(combined, half), np.minimum(combined, BELOW_HALF))


def _margins(scores: Scores, thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    return logit(scores) - np.where(thresholds > 1, np.inf, logit(np.minimum(thresholds, 1.0)))
