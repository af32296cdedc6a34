"""Choosing what a term's count is worth, and C, by mean average precision out of fold."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from postq.contracts.recipes import TermWeighting
from postq.learning.tfidf.out_of_fold import Fitter, Trial, try_values


class Fitters:
    """The fitter of one weighting at a time, since its inner products may take a gigabyte."""

    def __init__(
        self,
        rows: Callable[[TermWeighting], csr_array],
        truth: NDArray[np.bool_],
        *,
        class_weight: Literal["balanced"] | None,
    ) -> None:
        self._rows = rows
        self.truth = truth
        """(docs, labels)"""
        self._class_weight = class_weight
        self._kind: TermWeighting | None = None
        self._fitter: Fitter | None = None

    def of(self, kind: TermWeighting) -> Fitter:
        """The fitter of a weighting, made anew unless it was the last one asked for."""
        if self._fitter is None or kind != self._kind:
            self._fitter = None  # makes room first
            self._kind = kind
            self._fitter = Fitter(self._rows(kind), self.truth, class_weight=self._class_weight)
        return self._fitter


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What won on the trial folds."""

    weighting: TermWeighting
    trial: Trial
    """Of the weighting that won."""
    precision: Mapping[TermWeighting, float]
    """Mean average precision of each weighting on the trial folds; 0 where there was nothing to choose."""
    values: Mapping[float, float]
    """The same of every C, with the first weighting."""


def choose(
    fitters: Fitters,
    fold: NDArray[np.int64],
    *,
    weightings: Sequence[TermWeighting],
    regularisation: Sequence[float],
    look_up: Callable[[], None],
) -> Choice:
    """Try every C with the first weighting and the C that won with each further one.

    On validation documents BM25 ranked one corpus of long documents a point better, and the logarithm one of
    short ones (docs/experiments.md); so neither is taken for granted.
    """
    trials: dict[TermWeighting, Trial] = {}
    values = regularisation
    for kind in weightings:
        trials[kind] = try_values(
            fitters.of(kind),
            fitters.truth,
            fold,
            regularisation=values,
            rivals=len(weightings) > 1,
            look_up=look_up,
        )
        values = [trials[weightings[0]].chosen]
    precision = {kind: trial.precision[trial.chosen] for kind, trial in trials.items()}
    best = max(precision, key=precision.__getitem__)
    first = trials[weightings[0]].precision
    return Choice(weighting=best, trial=trials[best], precision=precision, values=first)
