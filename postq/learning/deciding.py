"""Tuning what decides: thresholds, and rules between labels where they were asked for and help."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from postq.contracts.recipes import ThresholdMethod
from postq.learning.metrics.counts import summary
from postq.learning.rules.choosing import JudgedRules, Proposed, judge_rules
from postq.learning.thresholds.cross_fit import cross_fitted_predictions
from postq.learning.thresholds.threshold_set import ThresholdSet, TunedOn
from postq.learning.thresholds.tuning import tune_thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What a model's scores are decided by, and how good that is on the documents it was tuned on."""

    thresholds: ThresholdSet
    """With the rules that were kept."""
    figures: dict[str, Any]
    """Resubstituted and cross-fitted, as metrics.json keeps them."""
    rules: dict[str, Any] | None
    """How rules were judged; None where none were asked for."""


def tune_decision(
    truth: NDArray[np.bool_],
    scores: NDArray[np.float32],
    *,
    labels: tuple[str, ...],
    method: ThresholdMethod,
    score_space: str,
    on: TunedOn,
    proposed: Proposed | None,
    seed: int,
) -> Decided:
    """Thresholds by `method` (0.5 without any positive) for honest (docs, labels) scores, then rules.

    The cross-fitted figure is that of the whole procedure: thresholds, and the rules where they are kept.
    """
    used: ThresholdMethod = method if truth.any() else "half"
    thresholds = tune_thresholds(
        truth, scores, labels=labels, method=used, score_space=score_space, tuned_on=on, seed=seed
    )
    judged = None if proposed is None else _judged(truth, scores, thresholds, proposed, seed=seed)
    if judged is not None:
        thresholds = thresholds.model_copy(update={"rules": judged.kept})
        crossed = judged.predicted
    else:
        crossed = cross_fitted_predictions(truth, scores, method=thresholds.method, seed=seed)
    figures = {
        "on": on,
        "method": thresholds.method,
        "documents": len(truth),
        "resubstituted": summary(truth, thresholds.decide(scores)),
        "cross_fitted": summary(truth, crossed),
    }
    return Decided(thresholds=thresholds, figures=figures, rules=None if judged is None else judged.facts())


def _judged(
    truth: NDArray[np.bool_],
    scores: NDArray[np.float32],
    thresholds: ThresholdSet,
    proposed: Proposed,
    *,
    seed: int,
) -> JudgedRules:
    return judge_rules(
        truth,
        scores,
        thresholds.values,
        labels=thresholds.names,
        method=thresholds.method,
        proposed=proposed,
        seed=seed,
    )
