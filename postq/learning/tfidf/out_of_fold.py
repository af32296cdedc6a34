"""Out-of-fold scores, which choose C and tune thresholds, and the refit on all documents."""

from collections.abc import Callable, Iterator, Sequence
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


def judge_candidates(
    fitter: Fitter,
    truth: NDArray[np.bool_],
    fold: NDArray[np.int64],
    *,
    regularisation: Sequence[float],
    look_up: Callable[[], None],
) -> Iterator[Candidate]:
    """Every C in ascending order, each fit starting from its own solution for the C before.

    So no fit ever touched a document it scores as held out. `look_up` is called before every fit, to tell
    progress and to stop.
    """
    starts: dict[int | None, Solution] = {}

    def fit(value: float, held_out: int | None) -> Solution:
        look_up()
        included = None if held_out is None else fold != held_out
        starts[held_out] = fitter.fit(regularisation=value, included=included, start=starts.get(held_out))
        return starts[held_out]

    for value in sorted(regularisation):
        scores = np.zeros(truth.shape, np.float32)
        for held_out in np.unique(fold).tolist():
            scores[fold == held_out] = fitter.score(fit(value, held_out))[fold == held_out]
        yield Candidate(
            regularisation=value,
            mean_average_precision=mean_average_precision(truth, scores) or 0.0,
            scores=scores,
            solution=fit(value, None),
        )
