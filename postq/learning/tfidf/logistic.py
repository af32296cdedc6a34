"""L2-regularised logistic regression of many labels at once, by Newton steps with conjugate gradients.

The objective per label is scikit-learn's: ½|w|² + C·Σᵢ sᵢ·log(1 + exp(−yᵢ(xᵢ·w + b))), intercept not
regularised, sᵢ the class weights. Method: inexact Newton-CG as in Lin, Weng and Keerthi, "Trust region
Newton method for large-scale logistic regression" (JMLR 2008), with a line search in place of the trust
region, and all labels sharing each matrix product.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log1p

from postq.learning.tfidf.gram import Design

LABEL_BLOCK = 256
"""Labels solved together; bounds memory when there are thousands."""
NEWTON_STEPS = 60
CG_STEPS = 60
HALVINGS = 20
ARMIJO = 1e-4

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Weights in the design's coordinates (see gram.Design), one column per label."""

    weights: NDArray[np.floating]
    """(coordinates, labels)"""
    intercepts: NDArray[np.float64]
    """(labels,)"""
    unconverged: tuple[int, ...] = ()
    """Labels whose gradient did not fall below the tolerance."""


def solve(
    design: Design,
    truth: NDArray[np.bool_],
    *,
    regularisation: float,
    class_weight: Literal["balanced"] | None,
    included: NDArray[np.bool_] | None = None,
    start: Solution | None = None,
    tolerance: float = 1e-4,
    dtype: type[np.floating] = np.float32,
) -> Solution:
    """Fit every column of `truth` (docs, labels).

    `included` (docs,) leaves documents out, as if they were not there. A label that all documents carry, or
    none, has no finite optimum: it gets zero weights and a smoothed logit of its share. `tolerance` bounds
    the gradient's norm relative to that at zero weights.
    """
    included = np.ones(len(truth), np.bool_) if included is None else included
    weights = np.zeros((design.coordinates, truth.shape[1]), dtype)
    intercepts = constant_intercepts(truth[included])
    unconverged: list[int] = []
    counts = truth[included].sum(axis=0)
    open_labels = np.flatnonzero((counts > 0) & (counts < included.sum()))
    for first in range(0, len(open_labels), LABEL_BLOCK):
        block = open_labels[first : first + LABEL_BLOCK]
        costs = regularisation * _class_weights(truth[:, block], included, class_weight=class_weight)
        problem = _Problem(design, truth[:, block], costs, dtype)
        if start is not None:
            problem.start_from(start.weights[:, block], start.intercepts[block])
        open_after = problem.solve(tolerance)
        weights[:, block], intercepts[block] = problem.weights, problem.intercepts
        unconverged += block[open_after].tolist()
    return Solution(weights=weights, intercepts=intercepts, unconverged=tuple(unconverged))


def constant_intercepts(truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(labels,) logit of (positives + ½) / (documents + 1)."""
    share = (truth.sum(axis=0) + 0.5) / (len(truth) + 1)
    return np.asarray(np.log(share / (1 - share)), np.float64)


def _class_weights(
    truth: NDArray[np.bool_], included: NDArray[np.bool_], *, class_weight: Literal["balanced"] | None
) -> NDArray[np.float64]:
    """(docs, labels) weight of each document: 1, or so that both classes weigh the same; 0 if left out."""
    if class_weight is None:
        return np.repeat(included[:, None].astype(np.float64), truth.shape[1], axis=1)
    documents = int(included.sum())
    positives = truth[included].sum(axis=0)
    weights = np.where(truth, documents / (2 * positives), documents / (2 * (documents - positives)))
    return np.asarray(weights * included[:, None])


class _Problem:
    """Newton iteration on one block of labels; columns that converged are left out of later products."""

    def __init__(
        self,
        design: Design,
        truth: NDArray[np.bool_],
        costs: NDArray[np.float64],
        dtype: type[np.floating],
    ) -> None:
        self.design = design
        self.signs = np.where(truth, 1, -1).astype(dtype)
        self.costs = costs.astype(dtype)
        self.weights: Floats = np.zeros((design.coordinates, truth.shape[1]), dtype)
        self.intercepts = np.zeros(truth.shape[1], np.float64)
        self.reference = self._gradient_norm_at_zero()

    def _gradient_norm_at_zero(self) -> NDArray[np.float64]:
        residuals = -0.5 * self.signs * self.costs
        gradient = self.design.adjoint(residuals)
        return self._norm(gradient, self.design.predict(gradient), residuals.sum(axis=0))

    def start_from(self, weights: Floats, intercepts: NDArray[np.float64]) -> None:
        """Begin at another solution, such as the one for a smaller C."""
        self.weights[:] = weights
        self.intercepts[:] = intercepts

    def solve(self, tolerance: float) -> NDArray[np.int64]:
        """Iterate until every label converged; returns the columns that did not."""
        active = np.arange(len(self.intercepts))
        for _ in range(NEWTON_STEPS):
            active = self._newton_step(active, tolerance)
            if not len(active):
                break
        return active

    def _newton_step(self, active: NDArray[np.int64], tolerance: float) -> NDArray[np.int64]:
        """One step for the active columns; returns those not yet converged before it."""
        weights, linear = self.weights[:, active], self.design.predict(self.weights[:, active])
        margins = linear + self.intercepts[active].astype(linear.dtype)
        signs, costs = self.signs[:, active], self.costs[:, active]
        wrong = expit(-signs * margins)
        residuals = -signs * costs * wrong
        gradient = weights + self.design.adjoint(residuals)
        predicted = self.design.predict(gradient)
        slope = residuals.sum(axis=0, dtype=np.float64)
        norm = self._norm(gradient, predicted, slope)
        left = norm > tolerance * self.reference[active]
        if not left.any():
            return active[:0]
        keep = np.flatnonzero(left)
        direction = _newton_direction(
            self.design,
            gradient[:, keep],
            predicted[:, keep],
            slope[keep],
            curvature=(costs * wrong * (1 - wrong))[:, keep],
            forcing=np.minimum(0.1, np.sqrt(norm[keep] / self.reference[active[keep]])),
        )
        self._advance(active[keep], weights[:, keep], linear[:, keep], margins[:, keep], direction)
        return active[keep]

    def _advance(
        self,
        columns: NDArray[np.int64],
        weights: Floats,
        linear: Floats,
        margins: Floats,
        direction: "_Direction",
    ) -> None:
        """Backtracking line search per label on cached margins; no product with the documents."""
        signs, costs = self.signs[:, columns], self.costs[:, columns]
        along = direction.predicted + direction.intercepts.astype(linear.dtype)
        # |w + t·d|² as a quadratic in t, from the three inner products.
        own = self.design.squared_norm(weights, linear)
        step = self.design.squared_norm(direction.weights, direction.predicted)
        both = self.design.squared_norm(weights + direction.weights, linear + direction.predicted)
        cross = (both - own - step) / 2
        before = own / 2 + _loss(signs * margins, costs)
        size = np.ones(len(columns))
        for _ in range(HALVINGS):
            moved = margins + size.astype(linear.dtype) * along
            after = (own + 2 * size * cross + size**2 * step) / 2 + _loss(signs * moved, costs)
            # Rounding of the loss sum must not stop a step that no longer matters.
            slack = 1e-6 * np.abs(before)
            failed = after > before + ARMIJO * size * direction.slope + slack
            if not failed.any():
                break
            size[failed] /= 2
        self.weights[:, columns] += size.astype(linear.dtype) * direction.weights
        self.intercepts[columns] += size * direction.intercepts

    def _norm(self, weights: Floats, predicted: Floats, intercepts: Floats) -> NDArray[np.float64]:
        squared = self.design.squared_norm(weights, predicted) + np.asarray(intercepts, np.float64) ** 2
        return np.asarray(np.sqrt(squared))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Direction:
    weights: Floats
    predicted: Floats
    intercepts: NDArray[np.float64]
    slope: NDArray[np.float64]
    """(labels,) derivative of the objective along the direction; negative."""


def _newton_direction(
    design: Design,
    gradient: Floats,
    predicted: Floats,
    slope: NDArray[np.float64],
    *,
    curvature: Floats,
    forcing: NDArray[np.float64],
) -> _Direction:
    """Solve H·d = −g by conjugate gradients, all labels side by side, H = I + Xᵀ·diag(curvature)·X.

    `predicted` is X·gradient; predictions of the search directions follow by recurrence.
    """
    dtype = gradient.dtype
    found, found_predicted, found_intercepts = np.zeros_like(gradient), np.zeros_like(predicted), 0 * slope
    left, left_predicted, left_slope = -gradient, -predicted, -slope
    search, search_predicted, search_intercepts = left.copy(), left_predicted.copy(), left_slope.copy()
    size = design.squared_norm(left, left_predicted) + left_slope**2
    goal = forcing**2 * size
    for _ in range(CG_STEPS):
        through = search_predicted + search_intercepts.astype(dtype)
        bent = curvature * through
        energy = design.squared_norm(search, search_predicted) + np.einsum(
            "ij,ij->j", bent, through, dtype=np.float64
        )
        running = (size > goal) & (energy > 0)
        if not running.any():
            break
        reach = np.where(running, size / np.where(energy > 0, energy, 1), 0.0)
        step = reach.astype(dtype)
        found += step * search
        found_predicted += step * search_predicted
        found_intercepts = found_intercepts + reach * search_intercepts
        left -= step * (search + design.adjoint(bent))
        left_slope = left_slope - reach * bent.sum(axis=0, dtype=np.float64)
        left_predicted = design.predict(left)
        new_size = design.squared_norm(left, left_predicted) + left_slope**2
        turn = np.where(running, new_size / np.where(size > 0, size, 1), 0.0)
        search = left + turn.astype(dtype) * search
        search_predicted = left_predicted + turn.astype(dtype) * search_predicted
        search_intercepts = left_slope + turn * search_intercepts
        size = new_size
    return _Direction(
        weights=found,
        predicted=found_predicted,
        intercepts=found_intercepts,
        slope=_inner(design, gradient, predicted, found, found_predicted) + slope * found_intercepts,
    )


def _inner(
    design: Design, one: Floats, one_predicted: Floats, two: Floats, two_predicted: Floats
) -> NDArray[np.float64]:
    """(labels,) inner products in feature space, by polarisation."""
    both = design.squared_norm(one + two, one_predicted + two_predicted)
    apart = design.squared_norm(one - two, one_predicted - two_predicted)
    return (both - apart) / 4


def _loss(margins: Floats, costs: Floats) -> NDArray[np.float64]:
    """(labels,) Σ cost · log(1 + exp(−margin)), without overflow."""
    losses = np.maximum(-margins, 0) + log1p(np.exp(-np.abs(margins)))
    return np.asarray(np.einsum("ij,ij->j", costs, losses, dtype=np.float64))
