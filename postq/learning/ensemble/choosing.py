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
from postq.learning.ensemble.cascade import fit_cascade
from postq.learning.ensemble.combining import Combination, Scores, best_weights
from postq.learning.ensemble.held_out import Cuts, assigned_folds, combined_held_out, each_fold
from postq.learning.ensemble.stacking import Stacked, fit_stacked, learnable
from postq.learning.metrics.counts import summary
from postq.learning.thresholds.threshold_set import TunedOn
from postq.learning.thresholds.tuning import HALF


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A combination, and how it scores the documents it was chosen on."""

    combination: Combination
    scores: Scores
    """(docs, labels) of the tuning documents, each by a combination chosen, and members tuned, without it."""
    facts: dict[str, Any]


def choose(
    method: EnsembleMethod,
    tuning: Sequence[ScoredPart],
    members: Sequence[Bundle],
    *,
    own: Sequence[ScoredPart],
    on: TunedOn,
    defer_share: float,
) -> Chosen:
    """The combination by `method`, from the members' scores of documents that none of them learned from.

    `own` is what each member's thresholds were tuned on. Raises NotTrainable where there are too few
    documents to fit a stack, or none with a label for a cascade.
    """
    if method == "stacking":
        return _stacked(tuning, members)

    def combination(rows: NDArray[np.bool_], cuts: Sequence[Cuts]) -> Combination:
        truth, scores = tuning[0].truth[rows], [part.scores[rows] for part in tuning]
        weights = np.full(truth.shape[1], 1 / len(members))
        if method == "cascade":
            cascade = fit_cascade(
                truth, scores[0], cuts[0], labels=members[0].labels, share=defer_share, fitted_on=on
            )
            return Combination(method=method, weights=tuple(weights.tolist()), cascade=cascade)
        if method == "mean_logit":
            weights = best_weights(truth, *scores)
        return Combination(method=method, weights=tuple(weights.tolist()))

    everything = np.ones(len(tuning[0].truth), np.bool_)
    chosen = combination(everything, cuts_of(members))
    scores = chosen.combine([part.scores for part in tuning], thresholds=cuts_of(members))
    for fold in each_fold(tuning, own, members):
        combined_held_out(fold, combination(~fold.held_out, fold.cuts), tuning, into=scores)
    return Chosen(combination=chosen, scores=scores, facts=_facts(chosen, share=defer_share))


def _facts(chosen: Combination, *, share: float) -> dict[str, Any]:
    if chosen.cascade is not None:
        return {"method": "cascade", "share_wanted": share, "cutoff": chosen.cascade.cutoff}
    return {"method": chosen.method, "mean_weight_of_first": float(np.mean(chosen.weights))}


def _stacked(tuning: Sequence[ScoredPart], members: Sequence[Bundle]) -> Chosen:
    """Fitted in folds that keep near-duplicates together."""
    truth, fold = tuning[0].truth, assigned_folds(tuning[0], members)
    if not fold.any():
        raise NotTrainable(
            "The members keep honest scores of one document, or of near-duplicates of one: a stack cannot be "
            "fitted and judged apart.",
            hint="Use --method mean_logit, or train on more documents.",
        )
    found = fit_stacked(truth, [part.scores for part in tuning], fold)
    weights = (1 / len(members),) * truth.shape[1]
    combination = Combination(method="stacking", weights=weights, stack=found.stack)
    return Chosen(combination=combination, scores=found.scores, facts=_stack_facts(found, truth, members))


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
