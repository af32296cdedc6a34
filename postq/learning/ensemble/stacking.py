"""Stacking: a logistic model per label over the members' logits, drawn towards their recalibrated plain mean.

Wolpert 1992, "Stacked generalization"; weights are kept at zero or above after Breiman 1996, "Stacked
regressions". The strength of the prior is chosen out of fold, one number for all labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from postq.contracts.record import Record
from postq.learning.logits import logit, sigmoid

FOLDS = 10
STRENGTHS = (1.0, 4.0, 16.0, 64.0, 1024.0)
"""Candidates of the prior's precision on every weight; the largest is the recalibrated plain mean."""
OFFSET_STRENGTH = 1.0
"""The prior's precision on offsets, which move no ranking within a label."""
NEWTON_STEPS = 50
HALVINGS = 30
CONVERGED = 1e-6
LABEL_BLOCK = 64
"""Labels solved together; bounds memory when there are thousands."""

Truth = NDArray[np.bool_]
Floats = NDArray[np.float64]
Scores = NDArray[np.float32]


class Stack(Record):
    """score → logistic(Σ weight · logit of a member's score + offset), per label; stored as JSON."""

    weights: tuple[tuple[FiniteFloat, ...], ...]
    """(members, labels), none below zero."""
    offsets: tuple[FiniteFloat, ...]
    """(labels,)"""

    def apply(self, scores: Sequence[Scores]) -> Scores:
        """(docs, labels) probabilities from the members' own."""
        weighted = np.zeros(scores[0].shape)
        for shares, each in zip(self.weights, scores, strict=True):
            weighted += np.array(shares) * logit(each)
        return np.asarray(sigmoid(weighted + np.array(self.offsets)), np.float32)

    def fits(self, *, members: int, labels: int) -> bool:
        """Whether there is a weight for every member and label, and an offset for every label."""
        rows = [len(row) for row in self.weights]
        return rows == [labels] * members and len(self.offsets) == labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Stacked:
    """A stack fitted on all documents, and what it is worth on documents it was not fitted on."""

    stack: Stack
    scores: Scores
    """(docs, labels) each document scored by a stack of the other folds."""
    strength: float
    log_loss: dict[float, float]
    """Mean out-of-fold log loss of every candidate strength."""


def fit_stacked(truth: Truth, scores: Sequence[Scores], fold: NDArray[np.int64]) -> Stacked:
    """Choose the strength by out-of-fold log loss, score out of fold with it, and refit on all documents.

    `scores` are the members' (docs, labels) probabilities for documents that none of them learned from,
    `fold` is (docs,). Thresholds are to be tuned on the out-of-fold scores: those of the refit would flatter
    them. Among equals the larger strength wins.
    """
    crossed = {strength: _out_of_fold(truth, scores, fold, strength) for strength in STRENGTHS}
    losses = {strength: log_loss(truth, found) for strength, found in crossed.items()}
    chosen = min(STRENGTHS, key=lambda strength: (round(losses[strength], 9), -strength))
    return Stacked(
        stack=fit_stack(truth, scores, strength=chosen),
        scores=crossed[chosen],
        strength=chosen,
        log_loss=losses,
    )


def learnable(truth: Truth) -> NDArray[np.bool_]:
    """(labels,) True where some documents carry the label and some do not."""
    carried = truth.sum(axis=0)
    return np.asarray((carried > 0) & (carried < len(truth)))


def _out_of_fold(truth: Truth, scores: Sequence[Scores], fold: NDArray[np.int64], strength: float) -> Scores:
    found = np.zeros(truth.shape, np.float32)
    for held_out in np.unique(fold):
        own, others = fold == held_out, fold != held_out
        stack = fit_stack(truth[others], [each[others] for each in scores], strength=strength)
        found[own] = stack.apply([each[own] for each in scores])
    return found


def log_loss(truth: Truth, scores: Scores) -> float:
    """Mean over documents and labels; finite for scores of 0 and 1 too."""
    signed = np.where(truth, 1, -1) * logit(scores)
    return float(np.logaddexp(0, -signed).mean())


def fit_stack(truth: Truth, scores: Sequence[Scores], *, strength: float) -> Stack:
    """Fit every label of (docs, labels) `truth`; labels that none or all documents carry keep the centre.

    The centre is the plain mean of the members' logits with one slope and one offset for all labels, so that
    labels left to it are ranked as by the mean and yet comparable with the others.
    """
    logits = np.stack([logit(each) for each in scores])
    slope, offset = _centre(truth, logits.mean(axis=0))
    members, _, labels = logits.shape
    weights = np.full((members, labels), slope / members)
    offsets = np.full(labels, offset)
    columns = np.flatnonzero(learnable(truth))
    for first in range(0, len(columns), LABEL_BLOCK):
        block = columns[first : first + LABEL_BLOCK]
        found = _fit_block(truth[:, block], logits[:, :, block], np.array([slope, offset]), strength)
        weights[:, block], offsets[block] = found[:-1], found[-1]
    return Stack(weights=tuple(map(tuple, weights.tolist())), offsets=tuple(offsets.tolist()))


def _centre(truth: Truth, mean: Floats) -> tuple[float, float]:
    """Slope and offset that make the plain mean of logits fit all labels together; (1, 0) if they cannot."""
    if not truth.any() or truth.all():
        return 1.0, 0.0
    one_label = truth.reshape(-1, 1), mean.reshape(1, -1, 1)
    slope, offset = _fit_block(*one_label, np.array([1.0, 0.0]), 1.0)[:, 0].tolist()
    return (slope, offset) if slope > 0 else (1.0, 0.0)


def _fit_block(truth: Truth, logits: Floats, centre: Floats, strength: float) -> Floats:
    """(members + 1, labels) weights and offset of each label, weights at zero or above.

    A weight below zero is put to zero and the others are fitted again. A label that would lose every weight
    keeps the centre's.
    """
    members, _, labels = logits.shape
    middle = np.repeat(np.array([*[centre[0] / members] * members, centre[1]])[:, None], labels, axis=1)
    free = np.ones(middle.shape, np.bool_)
    for _ in range(members):
        found = _newton(truth, logits, middle, free, strength)
        below = found[:-1] < 0
        if not below.any():
            break
        free[:-1] &= ~below
    lost = ~free[:-1].any(axis=0)
    return np.where(lost, middle, found)


def _newton(truth: Truth, logits: Floats, middle: Floats, free: NDArray[np.bool_], strength: float) -> Floats:
    """Penalised maximum likelihood by Newton's method with step halving; parameters not free stay 0."""
    features = np.concatenate([logits, np.ones((1, *logits.shape[1:]))])
    precision = np.full(middle.shape, strength)
    precision[-1] = OFFSET_STRENGTH
    found = np.where(free, middle, 0.0)
    linear = _linear(features, found)
    value = _objective(truth, linear, precision, found - middle)
    for _ in range(NEWTON_STEPS):
        fitted = sigmoid(linear)
        slope = np.einsum("mdl,dl->ml", features, fitted - truth) + precision * (found - middle)
        step = _step(features, fitted * (1 - fitted), precision, free, np.where(free, slope, 0.0))
        along = _linear(features, step)
        size = np.ones(truth.shape[1])
        for _ in range(HALVINGS):
            after = _objective(truth, linear - size * along, precision, found - size * step - middle)
            worse = after > value + 1e-12 * np.abs(value)
            if not worse.any():
                break
            size[worse] /= 2
        found, linear, value = found - size * step, linear - size * along, after
        if np.abs(size * step).max() < CONVERGED:
            break
    return found


def _linear(features: Floats, weights: Floats) -> Floats:
    return np.asarray(np.einsum("mdl,ml->dl", features, weights))


def _objective(truth: Truth, linear: Floats, precision: Floats, moved: Floats) -> Floats:
    """(labels,) negative log likelihood and the prior's share."""
    losses = np.logaddexp(0, np.where(truth, -linear, linear)).sum(axis=0)
    return np.asarray(losses + (precision * moved**2).sum(axis=0) / 2)


def _step(
    features: Floats, curvature: Floats, precision: Floats, free: NDArray[np.bool_], slope: Floats
) -> Floats:
    """(members + 1, labels) Newton step; parameters not free get none."""
    hessian = np.einsum("mdl,dl,ndl->lmn", features, curvature, features, optimize=True)
    both = free.T[:, :, None] & free.T[:, None, :]
    diagonal = np.where(free, precision, 1.0).T
    hessian = np.where(both, hessian, 0.0) + diagonal[:, :, None] * np.eye(len(free))
    return np.asarray(np.linalg.solve(hessian, slope.T[:, :, None])[:, :, 0].T)
