"""Paired document bootstrap: intervals of micro- and macro-F1, and of their difference between models."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLES = 2_000
BLOCK = 50
"""Samples computed at once; bounds memory at (BLOCK, docs)."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure with its 95 % percentile interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """True when the whole interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class F1Samples:
    """F1 on bootstrap samples of the same documents; pairs with others of equal seed and documents."""

    micro: NDArray[np.float64]
    """(samples + 1,); the first is the figure on the documents as they are."""
    macro: NDArray[np.float64]
    """(samples + 1,)"""


def f1_samples(truth: Bools, predicted: Bools, *, samples: int = SAMPLES, seed: int = 42) -> F1Samples:
    """Micro- and macro-F1 of (docs, labels) predictions on `samples` draws of documents with replacement.

    Equal seed and number of documents give equal draws, so that two models are compared on the same ones.
    """
    documents = len(truth)
    hits = (truth & predicted).astype(np.float32)
    mass = truth.astype(np.float32) + predicted
    own = _ratio(2.0 * hits.sum(axis=0), mass.sum(axis=0))
    generator = np.random.default_rng(seed)
    micro, macro = [], []
    for weights in _draws(documents, samples=samples, generator=generator):
        two_hits, total = 2.0 * (weights @ hits), (weights @ mass).astype(np.float64)
        micro.append(_ratio(two_hits.sum(axis=1), total.sum(axis=1)))
        macro.append(_macro(two_hits, total, own=own))
    return F1Samples(micro=np.concatenate(micro), macro=np.concatenate(macro))


def f1_by_label_samples(
    truth: Bools, predicted: Bools, *, samples: int = 500, seed: int = 42
) -> NDArray[np.float64]:
    """(samples + 1, labels) F1 of each label on the same draws as `f1_samples`; the first row is undrawn.

    NaN where a draw holds neither a truth nor a prediction of the label.
    """
    hits = (truth & predicted).astype(np.float32)
    mass = truth.astype(np.float32) + predicted
    generator = np.random.default_rng(seed)
    blocks = []
    for weights in _draws(len(truth), samples=samples, generator=generator):
        two_hits, total = 2.0 * (weights @ hits), weights @ mass
        blocks.append(np.where(total > 0, _ratio(two_hits, total), np.nan))
    return np.concatenate(blocks)


def _draws(documents: int, *, samples: int, generator: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    """(block, docs) how often each document was drawn; first a block of one with every document once."""
    yield np.ones((1, documents), np.float32)
    shares = np.full(documents, 1 / max(documents, 1))
    for start in range(0, samples, BLOCK):
        size = min(BLOCK, samples - start)
        yield generator.multinomial(documents, shares, size).astype(np.float32)


def _macro(
    two_hits: NDArray[np.floating], total: NDArray[np.float64], *, own: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(samples,) mean F1 over the fixed label list; `own` is each label's F1 on the documents as they are.

    A rare label that a draw happens to leave out has no F1 there. Counted as 0 it would pull every draw below
    the figure itself; left out of the mean, a rare label that is missed would push it above. A draw that
    says nothing about a label moves nothing: the label keeps its own.
    """
    if not own.size:
        return np.zeros(len(total))
    return np.asarray(np.where(total > 0, _ratio(two_hits, total), own).mean(axis=1))


def interval(samples: NDArray[np.float64]) -> Interval:
    """The first sample's value with the 2.5th and 97.5th percentile of the others."""
    low, high = np.percentile(samples[1:], [2.5, 97.5])
    return Interval(value=float(samples[0]), low=float(low), high=float(high))


def difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> Interval:
    """Interval of one − other over paired samples."""
    return interval(one - other)


def _ratio(part: NDArray[np.floating], whole: NDArray[np.floating]) -> NDArray[np.float64]:
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))
