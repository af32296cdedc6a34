"""Scores of an ensemble's tuning documents, each by a combination that had not seen the document."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postq.contracts.recipes import ThresholdMethod
from postq.learning.bundle.bundle import Bundle
from postq.learning.bundle.score_file import ScoredPart
from postq.learning.bundle.split_file import read_split
from postq.learning.ensemble.combining import Combination, Scores
from postq.learning.ensemble.stacking import FOLDS
from postq.learning.tfidf.folds import assign_folds
from postq.learning.thresholds.exact import global_threshold
from postq.learning.thresholds.tuning import HALF, label_values

Cuts = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Some tuning documents, and what the members decide by without them."""

    held_out: NDArray[np.bool_]
    """(docs,) True where a document has no say."""
    cuts: list[Cuts]
    """(labels,) thresholds of each member, tuned by its own method on its other tuning documents."""


def assigned_folds(first: ScoredPart, members: Sequence[Bundle]) -> NDArray[np.int64]:
    """(docs,) fold of each tuning document, near-duplicates in one; a single fold when all are alike."""
    known = {entry.document_id: entry.cluster for entry in read_split(members[0].path)}
    clusters = [known.get(name, -1 - at) for at, name in enumerate(first.document_ids)]
    folds = min(FOLDS, len(set(clusters)))
    if folds < 2:
        return np.zeros(len(clusters), np.int64)
    return assign_folds(first.truth, clusters, folds=folds, seed=members[0].recipe.seed)


def each_fold(
    tuning: Sequence[ScoredPart], own: Sequence[ScoredPart], members: Sequence[Bundle]
) -> Iterator[Fold]:
    """The folds of the members' common `tuning` documents; `own` is what each member was tuned on.

    A member's thresholds were tuned on these documents too, so what it decides by is tuned anew without them.
    None where all documents are alike: then none can be held out.
    """
    fold = assigned_folds(tuning[0], members)
    for at in np.unique(fold) if fold.any() else ():
        held_out = fold == at
        without = {tuning[0].document_ids[row] for row in np.flatnonzero(held_out).tolist()}
        cuts = [
            _cuts(part, without, method=member.thresholds.method, seed=member.recipe.seed)
            for part, member in zip(own, members, strict=True)
        ]
        yield Fold(held_out=held_out, cuts=cuts)


def combined_held_out(
    fold: Fold, combination: Combination, tuning: Sequence[ScoredPart], *, into: Scores
) -> None:
    """Write the fold's (docs, labels) scores by a combination that did not see its documents."""
    held_out = [part.scores[fold.held_out] for part in tuning]
    into[fold.held_out] = combination.combine(held_out, thresholds=fold.cuts)


def _cuts(part: ScoredPart, without: set[str], *, method: ThresholdMethod, seed: int) -> Cuts:
    kept = np.array([name not in without for name in part.document_ids])
    truth, scores = part.truth[kept], part.scores[kept]
    if not truth.any():
        return np.full(truth.shape[1], HALF)
    common = global_threshold(truth, scores)
    values, _ = label_values(truth, scores, method=method, common=common, seed=seed)
    return values
