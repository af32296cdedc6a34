"""Out-of-fold scores, which choose weighting and C and tune thresholds, and the refit on all documents."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import expit

from postq.learning.metrics.ranking import mean_average_precision
from postq.learning.tfidf.gram import GRAM_DOCUMENTS, Design, GramDesign, SparseDesign
from postq.learning.tfidf.logistic import Solution, solve

TOLERANCE = 1e-3
"""Gradient tolerance of the fits; tighter ones moved no metric in the fourth digit."""


TRIAL_FOLDS = 3
"""Folds on which every candidate is tried; the others are fitted with the chosen one only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Every C on the trial folds, none of them when there is nothing to choose."""

    folds: Sequence[int]
    """Those tried."""
    precision: Mapping[float, float]
    """Mean average precision of every C on the trial folds' documents; 0 where none was tried."""
    scores: Mapping[float, NDArray[np.float32]]
    """(docs, labels) by C: scores of the trial folds' documents, 0 for the others."""

    @property
    def chosen(self) -> float:
        """The C with the best precision, the smallest of equals."""
        return max(sorted(self.precision), key=self.precision.__getitem__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfFold:
    """The scores and the fit that the chosen C gives."""

    regularisation: float
    scores: NDArray[np.float32]
    """(docs, labels) each document scored by a model of the other folds."""
    solution: Solution
    """The fit on all documents."""


class Fitter:
    """Fits subsets of the documents; inner products are computed once and shared by every fit."""

    def __init__(
        self, rows: csr_array, truth: NDArray[np.bool_], *, class_weight: Literal["balanced"] | None
    ) -> None:
        small = rows.shape[0] <= GRAM_DOCUMENTS
        self._design: Design = GramDesign(rows) if small else SparseDesign(rows)
        self._truth = truth
        self._class_weight = class_weight

    def fit(
        self, *, regularisation: float, included: NDArray[np.bool_] | None, start: Solution | None
    ) -> Solution:
        """Weights in the coordinates of the design, from the `included` documents (None: all)."""
        return solve(
            self._design,
            self._truth,
            regularisation=regularisation,
            class_weight=self._class_weight,
            included=included,
            start=start,
            tolerance=TOLERANCE,
        )

    def score(self, solution: Solution) -> NDArray[np.float32]:
        """(docs, labels) probabilities of all documents, included in the fit or not."""
        linear = self._design.predict(solution.weights)
        return np.asarray(expit(linear + solution.intercepts), np.float32)

    def coefficients(self, solution: Solution) -> NDArray[np.float32]:
        """(features, labels) of a fit."""
        return np.asarray(self._design.feature_weights(solution.weights), np.float32)


def try_values(
    fitter: Fitter,
    truth: NDArray[np.bool_],
    fold: NDArray[np.int64],
    *,
    regularisation: Sequence[float],
    rivals: bool,
    look_up: Callable[[], None],
) -> Trial:
    """Score the first TRIAL_FOLDS with every C; nothing is fitted when there is one C and no `rivals`.

    On a fold each fit starts from the one for the next smaller C on the same documents. `look_up` is called
    before every fit, to tell progress and to stop.
    """
    values = sorted(regularisation)
    scores = {value: np.zeros(truth.shape, np.float32) for value in values}
    folds = np.unique(fold).tolist()[:TRIAL_FOLDS] if rivals or len(values) > 1 else []
    for held_out in folds:
        solution: Solution | None = None
        for value in values:
            look_up()
            solution = fitter.fit(regularisation=value, included=fold != held_out, start=solution)
            scores[value][fold == held_out] = fitter.score(solution)[fold == held_out]
    tried = np.isin(fold, folds)
    precision = {value: mean_average_precision(truth[tried], scores[value][tried]) or 0.0 for value in values}
    return Trial(folds=folds, precision=precision, scores=scores)


def score_out_of_fold(
    fitter: Fitter, fold: NDArray[np.int64], trial: Trial, *, look_up: Callable[[], None]
) -> OutOfFold:
    """With the C that won the trial, score every document by a fit that never saw it, then fit all."""
    scores = trial.scores[trial.chosen].copy()
    for held_out in np.unique(fold).tolist():
        if held_out not in trial.folds:
            look_up()
            solution = fitter.fit(regularisation=trial.chosen, included=fold != held_out, start=None)
            scores[fold == held_out] = fitter.score(solution)[fold == held_out]
    look_up()
    return OutOfFold(
        regularisation=trial.chosen,
        scores=scores,
        solution=fitter.fit(regularisation=trial.chosen, included=None, start=None),
    )


def fits_needed(*, folds: int, values: int, weightings: int) -> int:
    """How often `try_values` and `score_out_of_fold` fit, each further weighting with one C."""
    trial = min(TRIAL_FOLDS, folds) if values > 1 or weightings > 1 else 0
    return trial * (values + weightings - 1) + folds - trial + 1
