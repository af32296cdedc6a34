"""Making an ensemble: weights and thresholds from the members' stored scores, members inside its folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from postq.contracts.recipes import EnsembleMethod, EnsembleRecipe, ThresholdMethod
from postq.errors import IntegrityError, NotTrainable
from postq.learning.bundle.bundle import Bundle
from postq.learning.bundle.manifest import MEMBERS
from postq.learning.bundle.score_file import Part, ScoredPart
from postq.learning.bundle.split_file import read_split
from postq.learning.bundle.writing import write_bundle
from postq.learning.ensemble.choosing import Chosen, cascade_worth, choose, cuts_of
from postq.learning.ensemble.combining import Combination
from postq.learning.ensemble.members import BY_DECISION, require_fit
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
from postq.learning.thresholds.threshold_set import TunedOn


def make_ensemble(
    members: Sequence[Bundle],
    *,
    name: str,
    output: Path,
    method: EnsembleMethod = "mean_logit",
    thresholds: ThresholdMethod | None = None,
    defer_share: float = 0.2,
) -> Bundle:
    """Write the ensemble of verified bundles at `output`; it holds them all, hard-linked, and needs none.

    Weights are chosen and thresholds tuned on the documents all members keep honest scores of: validation
    where one is an encoder; all that have out-of-fold scores where all are TF-IDF. They are chosen in folds
    of these, so that thresholds are tuned and figures told on scores that no document had a say in; what
    is kept is chosen on all of them.
    A cascade's first member is the cheap one; `defer_share` of documents go to the second.
    `thresholds` defaults to `micro_macro`, and to `half` for AND, OR and cascades, whose scores reach 0.5
    exactly when the members' own decisions say so. Raises LabelSetMismatch, LeakRefused, BadInput,
    NotTrainable.
    """
    require_fit(members, method=method)
    metrics = [read_metrics(member) for member in members]
    kept = [stored_scores(member, metrics=facts) for member, facts in zip(members, metrics, strict=True)]
    tuning = _tuning(kept, members)
    out_of_fold = {each.tuned_on for each in kept} == {"out_of_fold"}
    on: TunedOn = "out_of_fold" if out_of_fold else "validation"
    own = [each.tuning for each in kept]
    chosen = choose(method, tuning, members, own=own, on=on, defer_share=defer_share)
    recipe = EnsembleRecipe(
        method=method,
        text=members[0].recipe.text,
        members=tuple(member.digest for member in members),
        thresholds=thresholds or ("half" if method in BY_DECISION else "micro_macro"),
        seed=members[0].recipe.seed,
    )
    judged = rejudge(
        _combined(chosen, members, kept, tuning, on=on),
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
        metrics=_metrics(members, metrics, judged, _facts(chosen, members, kept), name=name),
        recipe=recipe,
        corpus=members[0].manifest.corpus,
        write_model_files=lambda folder: _write_model(folder, members, chosen.combination),
        scores=judged.parts,
    )


def _tuning(kept: Sequence[StoredScores], members: Sequence[Bundle]) -> list[ScoredPart]:
    """The members' scores of the documents that none was fitted on when it scored them."""
    found = _aligned([each.tuning for each in kept], members)
    found = found or _aligned([each.validation for each in kept], members)
    if found is None:
        raise NotTrainable(
            "The members keep no scores of common validation documents.",
            hint="Train them on a corpus with a validation split.",
        )
    return found


def _combined(
    chosen: Chosen,
    members: Sequence[Bundle],
    kept: Sequence[StoredScores],
    tuning: Sequence[ScoredPart],
    *,
    on: TunedOn,
) -> StoredScores:
    def one(parts: Sequence[ScoredPart] | None, name: Part) -> ScoredPart | None:
        if parts is None:
            return None
        scores = [part.scores for part in parts]
        return relabelled(parts[0], name, chosen.combination.combine(scores, thresholds=cuts_of(members)))

    tuned = relabelled(tuning[0], "tuning", chosen.scores)
    validation = one(_aligned([each.validation for each in kept], members), "validation")
    return StoredScores(
        tuning=tuned,
        tuned_on=on,
        validation=_honest(validation, tuned) if on == "out_of_fold" else tuned,
        test=one(_aligned([each.test for each in kept], members), "test"),
    )


def _facts(chosen: Chosen, members: Sequence[Bundle], kept: Sequence[StoredScores]) -> dict[str, Any]:
    """What was chosen; of a cascade also what it is worth on each split."""
    found = dict(chosen.facts)
    if chosen.combination.cascade is not None:
        splits = {
            "validation": _aligned([each.validation for each in kept], members),
            "test": _aligned([each.test for each in kept], members),
        }
        found |= {
            name: cascade_worth(chosen.combination, parts, members)
            for name, parts in splits.items()
            if parts is not None
        }
    return found


def _honest(validation: ScoredPart | None, tuned: ScoredPart) -> ScoredPart | None:
    """Validation scores, those of tuning documents as in tuning: the combination learned from them."""
    if validation is None:
        return None
    where = {name: at for at, name in enumerate(tuned.document_ids)}
    scores = validation.scores.copy()
    for at, name in enumerate(validation.document_ids):
        if name in where:
            scores[at] = tuned.scores[where[name]]
    return relabelled(validation, "validation", scores)


def _aligned(parts: Sequence[ScoredPart | None], members: Sequence[Bundle]) -> list[ScoredPart] | None:
    """The members' scores of the documents all have, in the first one's order; None when there are none.

    Raises IntegrityError when the members hold different truths about a document.
    """
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    places = [{name: at for at, name in enumerate(part.document_ids)} for part in known]
    common = [name for name in known[0].document_ids if all(name in place for place in places)]
    if not common:
        return None
    aligned = [
        _rows(part, np.array([place[name] for name in common]))
        for part, place in zip(known, places, strict=True)
    ]
    for member, part in zip(members, aligned, strict=True):
        if not np.array_equal(aligned[0].truth, part.truth):
            raise IntegrityError(
                f"'{members[0].name}' and '{member.name}' hold different labels of the same documents.",
                hint="Train them on the same corpus version.",
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
    facts: Mapping[str, Any],
    *,
    name: str,
) -> dict[str, Any]:
    """The whole of metrics.json, with the members' own rows beside the ensemble's."""
    theirs = [row for facts in metrics for row in facts["comparison"] if row["model"] == facts["name"]]
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
        "facts": facts,
        "history": [],
        "tuning": judged.tuning,
        "validation": judged.reports.get("validation"),
        "test": judged.reports.get("test"),
        "detections": threshold_overfit(judged),
        "baseline": None,
    }
