"""Choosing an ensemble's combination: weights, a stack or a cascade, from scores no member learned."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from postq.contracts.recipes import EnsembleMethod
from postq.errors import NotTrainable
from postq.learning.bundle.bundle import Bundle
from postq.learning.bundle.score_file import ScoredPart
from postq.learning.bundle.split_file import read_split
from postq.learning.ensemble.cascade import fit_cascade
from postq.learning.ensemble.combining import Combination, Scores, best_weights
from postq.learning.ensemble.stacking import FOLDS, Stacked, fit_stacked, learnable
from postq.learning.metrics.counts import summary
from postq.learning.tfidf.folds import assign_folds
from postq.learning.thresholds.threshold_set import TunedOn
from postq.learning.thresholds.tuning import HALF


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A combination, and how it scores the documents it was chosen on."""

    combination: Combination
    scores: Scores
    """(docs, labels) of the tuning documents; of a stack, each by one that was not fitted on it."""
    facts: dict[str, Any]


def choose(
    method: EnsembleMethod,
    tuning: Sequence[ScoredPart],
    members: Sequence[Bundle],
    *,
    on: TunedOn,
    defer_share: float,
) -> Chosen:
    """The combination by `method`, from the members' scores of documents that none of them learned from.

    Raises NotTrainable where there are too few of these.
    """
    truth, scores = tuning[0].truth, [part.scores for part in tuning]
    weights = np.full(truth.shape[1], 1 / len(members))
    if method == "stacking":
        found = _stacked(tuning, members)
        combination = Combination(method=method, weights=tuple(weights.tolist()), stack=found.stack)
        return Chosen(combination=combination, scores=found.scores, facts=_stack_facts(found, truth, members))
    if method == "cascade":
        return _cascaded(tuning, members, on=on, share=defer_share)
    if method == "mean_logit":
        weights = best_weights(truth, *scores)
    combination = Combination(method=method, weights=tuple(weights.tolist()))
    return Chosen(
        combination=combination,
        scores=combination.combine(scores, thresholds=cuts_of(members)),
        facts={"method": method, "mean_weight_of_first": float(weights.mean())},
    )


def _stacked(tuning: Sequence[ScoredPart], members: Sequence[Bundle]) -> Stacked:
    """Fitted in folds that keep near-duplicates together."""
    first = tuning[0]
    known = {entry.document_id: entry.cluster for entry in read_split(members[0].path)}
    clusters = [known.get(name, -1 - at) for at, name in enumerate(first.document_ids)]
    folds = min(FOLDS, len(set(clusters)))
    if folds < 2:
        raise NotTrainable(
            "The members keep honest scores of one document, or of near-duplicates of one: a stack cannot be "
            "fitted and judged apart.",
            hint="Use --method mean_logit, or train on more documents.",
        )
    fold = assign_folds(first.truth, clusters, folds=folds, seed=members[0].recipe.seed)
    return fit_stacked(first.truth, [part.scores for part in tuning], fold)


def _stack_facts(found: Stacked, truth: NDArray[np.bool_], members: Sequence[Bundle]) -> dict[str, Any]:
    means = [float(np.mean(row)) for row in found.stack.weights]
    return {
        "method": "stacking",
        "prior_strength": found.strength,
        "out_of_fold_log_loss": {f"{strength:g}": loss for strength, loss in found.log_loss.items()},
        "mean_weights": {member.name: mean for member, mean in zip(members, means, strict=True)},
        "labels_left_to_the_mean": int((~learnable(truth)).sum()),
    }


def cuts_of(members: Sequence[Bundle]) -> list[NDArray[np.float64]]:
    """Each member's own (labels,) thresholds."""
    return [member.thresholds.values for member in members]


def _cascaded(
    tuning: Sequence[ScoredPart], members: Sequence[Bundle], *, on: TunedOn, share: float
) -> Chosen:
    truth, cuts = tuning[0].truth, cuts_of(members)
    cascade = fit_cascade(
        truth, tuning[0].scores, cuts[0], labels=members[0].labels, share=share, fitted_on=on
    )
    combination = Combination(method="cascade", weights=(0.5,) * truth.shape[1], cascade=cascade)
    scores = combination.combine([part.scores for part in tuning], thresholds=cuts)
    return Chosen(
        combination=combination,
        scores=scores,
        facts={"method": "cascade", "share_wanted": share, "cutoff": cascade.cutoff},
    )


def cascade_worth(
    combination: Combination, parts: Sequence[ScoredPart], members: Sequence[Bundle]
) -> dict[str, Any]:
    """On one split: the share deferred, and how much of the dear member's gain in F1 is kept.

    The kept gain is None where the dear member is no better than the cheap one. All at the members' own
    thresholds.
    """
    assert combination.cascade is not None
    truth, scores, cuts = parts[0].truth, [part.scores for part in parts], cuts_of(members)
    decided = [each.astype(np.float64) >= cut for each, cut in zip(scores, cuts, strict=True)]
    cheap, dear = (summary(truth, each) for each in decided)
    both = summary(truth, combination.combine(scores, thresholds=cuts) >= HALF)
    return {
        "deferred": float(combination.cascade.deferred(scores[0], cuts[0]).mean()),
        **{
            f"{name}_gain_kept": _kept(cheap[name], dear[name], both[name])
            for name in ("micro_f1", "macro_f1")
        },
    }


def _kept(cheap: float, dear: float, both: float) -> float | None:
    return (both - cheap) / (dear - cheap) if dear > cheap else None
