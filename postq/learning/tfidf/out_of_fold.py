"""Out-of-fold scores, which choose C and tune thresholds, and the refit on all documents."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import expit

from postq.learning.metrics.ranking import mean_average_precision
from postq.learning.tfidf.gram import GRAM_DOCUMENTS, Design, GramDesign, SparseDesign, gram_matrix
from postq.learning.tfidf.logistic import Solution, solve

TOLERANCE = 1e-3
"""Gradient tolerance of the fits; tighter ones moved no metric in the fourth digit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One value of C, judged out of fold."""

    regularisation: float
    mean_average_precision: float
    scores: NDArray[np.float32]
    """(docs, labels) each document scored by the model of the other folds."""
    solution: Solution
    """The fit on all documents."""


class Fitter:
    """Fits subsets of the documents; inner products are computed once and shared by every fit."""

    def __init__(
        self, rows: csr_array, truth: NDArray[np.bool_], *, class_weight: Literal["balanced"] | None
    ) -> None:
        self._rows = rows
        self._truth = truth
        self._class_weight = class_weight
        self._gram = gram_matrix(rows) if rows.shape[0] <= GRAM_DOCUMENTS else None

    def fit(self, documents: NDArray[np.int64], *, regularisation: float, start: Solution | None) -> Solution:
        """Weights in the coordinates of `design`."""
        return solve(
            self._design(documents),
            self._truth[documents],
            regularisation=regularisation,
            class_weight=self._class_weight,
            start=start,
            tolerance=TOLERANCE,
        )

    def score(
        self, solution: Solution, *, fitted: NDArray[np.int64], others: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """(others, labels) probabilities by a fit on `fitted`."""
        if self._gram is not None:
            linear = self._gram[np.ix_(others, fitted)] @ solution.weights
        else:
            linear = self._rows[others] @ solution.weights
        return np.asarray(expit(linear + solution.intercepts), np.float32)

    def start_for(self, solution: Solution, documents: NDArray[np.int64]) -> Solution:
        """Where a fit on `documents` may begin, given the fit on all: it is never far away."""
        if self._gram is None:
            return solution
        return Solution(weights=solution.weights[documents], intercepts=solution.intercepts)

    def coefficients(self, solution: Solution) -> NDArray[np.float32]:
        """(features, labels) of a fit on all documents."""
        weights = solution.weights
        return np.asarray(self._rows.T @ weights if self._gram is not None else weights, np.float32)

    def _design(self, documents: NDArray[np.int64]) -> Design:
        if self._gram is None:
            return SparseDesign(self._rows[documents])
        if len(documents) == len(self._gram):
            return GramDesign(self._gram)
        return GramDesign(self._gram[np.ix_(documents, documents)])


def judge_candidates(
    fitter: Fitter,
    truth: NDArray[np.bool_],
    fold: NDArray[np.int64],
    *,
    regularisation: Sequence[float],
    look_up: Callable[[], None],
) -> Iterator[Candidate]:
    """Every C in ascending order: the fit on all documents, and from there the folds' fits.

    Starting points change how soon a fit converges, not where: held-out documents leave no trace beyond
    the solver's tolerance. `look_up` is called before every fit, to tell progress and to stop.
    """
    whole: Solution | None = None
    for value in sorted(regularisation):
        look_up()
        whole = fitter.fit(np.arange(len(truth)), regularisation=value, start=whole)
        scores = np.zeros(truth.shape, np.float32)
        for held_out in np.unique(fold).tolist():
            look_up()
            fitted, others = np.flatnonzero(fold != held_out), np.flatnonzero(fold == held_out)
            start = fitter.start_for(whole, fitted)
            solution = fitter.fit(fitted, regularisation=value, start=start)
            scores[others] = fitter.score(solution, fitted=fitted, others=others)
        yield Candidate(
            regularisation=value,
            mean_average_precision=mean_average_precision(truth, scores) or 0.0,
            scores=scores,
            solution=whole,
        )
