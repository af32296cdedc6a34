"""Making an ensemble: weights and thresholds from the members' stored scores, members inside its folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from postq.contracts.recipes import EnsembleMethod, EnsembleRecipe, ThresholdMethod
from postq.errors import IntegrityError, NotTrainable
from postq.learning.bundle.bundle import Bundle
from postq.learning.bundle.score_file import Part, ScoredPart
from postq.learning.bundle.split_file import read_split
from postq.learning.bundle.writing import write_bundle
from postq.learning.ensemble.combining import MEMBERS, Combination, best_weights
from postq.learning.ensemble.members import require_fit
from postq.learning.judging import JudgedModel, comparison_rows
from postq.learning.rejudging import (
    StoredScores,
    known_counts,
    read_metrics,
    rejudge,
    relabelled,
    stored_scores,
)
from postq.learning.rethresholding import link_files, threshold_overfit


def make_ensemble(
    members: Sequence[Bundle],
    *,
    name: str,
    output: Path,
    method: EnsembleMethod = "mean_logit",
    thresholds: ThresholdMethod | None = None,
) -> Bundle:
    """Write the ensemble of two verified bundles at `output`; it holds both, hard-linked, and needs neither.

    Weights are chosen and thresholds tuned on the documents both members keep honest scores of: validation
    for encoders; for two TF-IDF bundles all that have out-of-fold scores.
    `thresholds` defaults to `micro_macro`, and to `half` for AND and OR, whose scores reach 0.5 exactly
    when the members' own decisions say so. Raises LabelSetMismatch, LeakRefused, BadInput, NotTrainable.
    """
    require_fit(members)
    metrics = [read_metrics(member) for member in members]
    kept = [stored_scores(member, metrics=facts) for member, facts in zip(members, metrics, strict=True)]
    tuning = _tuning(kept, members)
    combination = _combination(method, tuning)
    recipe = EnsembleRecipe(
        method=method,
        text=members[0].recipe.text,
        members=tuple(member.digest for member in members),
        thresholds=thresholds or ("micro_macro" if method == "mean_logit" else "half"),
        seed=members[0].recipe.seed,
    )
    judged = rejudge(
        _combined(combination, members, kept, tuning),
        labels=members[0].labels,
        method=recipe.thresholds,
        score_space=f"ensemble-{method}",
        counts=known_counts(metrics[0]),
        seed=recipe.seed,
    )
    return write_bundle(
        output,
        kind="ensemble",
        name=name,
        labels=members[0].labels,
        thresholds=judged.thresholds,
        split=read_split(members[0].path),
        metrics=_metrics(members, metrics, judged, combination, name=name),
        recipe=recipe,
        corpus=members[0].manifest.corpus,
        write_model_files=lambda folder: _write_model(folder, members, combination),
        scores=judged.parts,
    )


def _tuning(kept: Sequence[StoredScores], members: Sequence[Bundle]) -> list[ScoredPart]:
    """Both members' scores of the documents that neither was fitted on when it scored them."""
    found = _aligned([each.tuning for each in kept], members)
    found = found or _aligned([each.validation for each in kept], members)
    if found is None:
        raise NotTrainable(
            "The members keep no scores of common validation documents.",
            hint="Train both on a corpus with a validation split.",
        )
    return found


def _combination(method: EnsembleMethod, tuning: Sequence[ScoredPart]) -> Combination:
    first, second = tuning
    even = np.full(first.truth.shape[1], 0.5)
    found = best_weights(first.truth, first.scores, second.scores) if method == "mean_logit" else even
    return Combination(method=method, weights=tuple(found.tolist()))


def _combined(
    combination: Combination,
    members: Sequence[Bundle],
    kept: Sequence[StoredScores],
    tuning: Sequence[ScoredPart],
) -> StoredScores:
    cuts = [member.thresholds.values for member in members]

    def one(parts: Sequence[ScoredPart] | None, name: Part) -> ScoredPart | None:
        if parts is None:
            return None
        scores = combination.combine([part.scores for part in parts], thresholds=cuts)
        return relabelled(parts[0], name, scores)

    out_of_fold = {each.tuned_on for each in kept} == {"out_of_fold"}
    tuned = one(tuning, "tuning")
    assert tuned is not None
    validation = one(_aligned([each.validation for each in kept], members), "validation")
    return StoredScores(
        tuning=tuned,
        tuned_on="out_of_fold" if out_of_fold else "validation",
        validation=validation if out_of_fold else tuned,
        test=one(_aligned([each.test for each in kept], members), "test"),
    )


def _aligned(parts: Sequence[ScoredPart | None], members: Sequence[Bundle]) -> list[ScoredPart] | None:
    """Both members' scores of the documents both have, in the first one's order; None when there are none.

    Raises IntegrityError when the members hold different truths about a document.
    """
    first, second = parts
    if first is None or second is None:
        return None
    where = {name: at for at, name in enumerate(second.document_ids)}
    common = [(at, where[name]) for at, name in enumerate(first.document_ids) if name in where]
    if not common:
        return None
    rows = np.array(common)
    aligned = [_rows(part, rows[:, side]) for side, part in enumerate((first, second))]
    if not np.array_equal(aligned[0].truth, aligned[1].truth):
        raise IntegrityError(
            f"'{members[0].name}' and '{members[1].name}' hold different labels of the same documents.",
            hint="Train both on the same corpus version.",
        )
    return aligned


def _rows(part: ScoredPart, rows: Any) -> ScoredPart:
    return ScoredPart(
        part=part.part,
        model=part.model,
        document_ids=[part.document_ids[at] for at in rows.tolist()],
        word_counts=part.word_counts[rows],
        truth=part.truth[rows],
        scores=part.scores[rows],
    )


def _write_model(folder: Path, members: Sequence[Bundle], combination: Combination) -> None:
    combination.write(folder)
    for at, member in enumerate(members):
        link_files(member, folder / MEMBERS / str(at))


def _metrics(
    members: Sequence[Bundle],
    metrics: Sequence[Mapping[str, Any]],
    judged: JudgedModel,
    combination: Combination,
    *,
    name: str,
) -> dict[str, Any]:
    """The whole of metrics.json, with the members' own rows beside the ensemble's."""
    theirs = [row for facts in metrics for row in facts["comparison"] if row["model"] == facts["name"]]
    shares = np.array(combination.weights)
    return {
        "format": 1,
        "name": name,
        "kind": "ensemble",
        "data": metrics[0]["data"],
        "members": [
            {"name": member.name, "kind": member.kind, "digest": member.digest} for member in members
        ],
        "comparison": [*comparison_rows(judged, model=name, kind="ensemble"), *theirs],
        "against_baseline": None,
        "facts": {"method": combination.method, "mean_weight_of_first": float(shares.mean())},
        "history": [],
        "tuning": judged.tuning,
        "validation": judged.reports.get("validation"),
        "test": judged.reports.get("test"),
        "detections": threshold_overfit(judged),
        "baseline": None,
    }
