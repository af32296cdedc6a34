"""Out-of-fold scores, which choose C and tune thresholds, and the refit on all documents."""

from collections.abc import Callable, Sequence
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
"""Folds on which every C is tried; the others are fitted with the chosen one only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfFold:
    """The chosen C, what chose it, and the scores and the fit it gives."""

    regularisation: float
    precision: dict[float, float]
    """Mean average precision of every C on the trial folds' documents; 0 where only one C was given."""
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


def score_out_of_fold(
    fitter: Fitter,
    truth: NDArray[np.bool_],
    fold: NDArray[np.int64],
    *,
    regularisation: Sequence[float],
    look_up: Callable[[], None],
) -> OutOfFold:
    """Choose C on the first TRIAL_FOLDS, then score every document by a fit that never saw it.

    On a trial fold each fit starts from the one for the next smaller C on the same documents. `look_up` is
    called before every fit, to tell progress and to stop.
    """
    values = sorted(regularisation)
    scores = {value: np.zeros(truth.shape, np.float32) for value in values}

    def fit(value: float, held_out: int, start: Solution | None) -> Solution:
        look_up()
        solution = fitter.fit(regularisation=value, included=fold != held_out, start=start)
        scores[value][fold == held_out] = fitter.score(solution)[fold == held_out]
        return solution

    folds = np.unique(fold).tolist()
    trial = folds[:TRIAL_FOLDS] if len(values) > 1 else []
    for held_out in trial:
        solution: Solution | None = None
        for value in values:
            solution = fit(value, held_out, solution)
    tried = np.isin(fold, trial)
    precision = {value: mean_average_precision(truth[tried], scores[value][tried]) or 0.0 for value in values}
    chosen = max(values, key=precision.__getitem__)
    for held_out in folds[len(trial) :]:
        fit(chosen, held_out, None)
    look_up()
    return OutOfFold(
        regularisation=chosen,
        precision=precision,
        scores=scores[chosen],
        solution=fitter.fit(regularisation=chosen, included=None, start=None),
    )


def fits_needed(*, folds: int, values: int) -> int:
    """How often `score_out_of_fold` fits."""
    trial = min(TRIAL_FOLDS, folds) if values > 1 else 0
    return trial * values + folds - trial + 1
