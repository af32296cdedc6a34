"""Scores on their way from a scorer to the database."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreBatch:
    """Scores of some documents, in any order of rows."""

    rows: NDArray[np.int64]
    """(docs,) snapshot rows."""
    scores: NDArray[np.float32]
    """(docs, labels) probabilities in the bundle's label order."""
    tokens_total: NDArray[np.int32]
    """(docs,) tokens of the whole document."""
    tokens_seen: NDArray[np.int32]
    """(docs,) tokens the model read; less than the total when text was cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFailure:
    """A document that raised while being scored; it is quarantined, the rest go on."""

    row: int
    error: str
