"""Documents as a linear map, in two forms: sparse features, or the matrix of their inner products."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

GRAM_DOCUMENTS = 16_000
"""Up to this many training documents their inner products (float32, 1 GiB) are kept instead of features."""
DENSE_BLOCK = 1024
"""Frequent features multiplied at once as a dense block."""
DENSE_SHARE = 1 / 32
"""Features in more than this share of the documents are multiplied dense, the rest sparse."""


class Design(Protocol):
    """Documents seen by a solver whose weights are always combinations of documents or features.

    Weights are held as coordinates: feature weights themselves, or one factor per document. Every method
    takes and gives one column per label.
    """

    @property
    def coordinates(self) -> int:
        """How many coordinates one label's weights have."""

    def predict(self, weights: NDArray[np.floating]) -> NDArray[np.floating]:
        """(docs, labels) inner products of documents and weights, without intercept."""

    def adjoint(self, residuals: NDArray[np.floating]) -> NDArray[np.floating]:
        """(coordinates, labels) the weights that sum the documents times `residuals` (docs, labels)."""

    def feature_weights(self, weights: NDArray[np.floating]) -> NDArray[np.floating]:
        """(features, labels) the same weights on features."""

    def squared_norm(
        self, weights: NDArray[np.floating], predicted: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """(labels,) squared Euclidean norm in feature space, given weights and their predictions."""


class SparseDesign:
    """Coordinates are feature weights; two sparse products per step of the solver."""

    def __init__(self, rows: csr_array) -> None:
        self._rows = rows
        self._columns = rows.T.tocsr()

    @property
    def coordinates(self) -> int:
        """(features)"""
        return int(self._rows.shape[1])

    def predict(self, weights: NDArray[np.floating]) -> NDArray[np.floating]:
        """Rows times weights."""
        return np.asarray(self._rows @ weights)

    def adjoint(self, residuals: NDArray[np.floating]) -> NDArray[np.floating]:
        """Transposed rows times residuals."""
        return np.asarray(self._columns @ residuals)

    def feature_weights(self, weights: NDArray[np.floating]) -> NDArray[np.floating]:
        """They are what coordinates are here."""
        return weights

    def squared_norm(
        self, weights: NDArray[np.floating], predicted: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Plain sum of squares."""
        return np.asarray(np.einsum("ij,ij->j", weights, weights, dtype=np.float64))


class GramDesign:
    """Coordinates are factors of documents: one dense product per step, whatever the number of features."""

    def __init__(self, rows: csr_array) -> None:
        self._rows = rows
        self._gram = gram_matrix(rows)

    @property
    def coordinates(self) -> int:
        """(docs)"""
        return len(self._gram)

    def predict(self, weights: NDArray[np.floating]) -> NDArray[np.floating]:
        """Inner products of documents times factors."""
        return np.asarray(self._gram @ weights)

    def adjoint(self, residuals: NDArray[np.floating]) -> NDArray[np.floating]:
        """The residuals are the factors."""
        return residuals

    def feature_weights(self, weights: NDArray[np.floating]) -> NDArray[np.floating]:
        """The documents summed up by their factors."""
        return np.asarray(self._rows.T @ weights)

    def squared_norm(
        self, weights: NDArray[np.floating], predicted: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """|Xᵀa|² = a·Ka; rounding may not make it negative."""
        return np.asarray(np.maximum(np.einsum("ij,ij->j", weights, predicted, dtype=np.float64), 0.0))


def gram_matrix(rows: csr_array) -> NDArray[np.floating]:
    """(docs, docs) inner products of all rows: frequent features by dense blocks, rare ones sparse."""
    columns: csc_array = rows.tocsc()
    frequency = np.diff(columns.indptr)
    dense = np.flatnonzero(frequency > DENSE_SHARE * rows.shape[0])
    rare = columns[:, np.flatnonzero(frequency <= DENSE_SHARE * rows.shape[0])].tocsr()
    gram = np.asarray((rare @ rare.T).todense())
    for start in range(0, len(dense), DENSE_BLOCK):
        block = columns[:, dense[start : start + DENSE_BLOCK]].toarray()
        gram += block @ block.T
    return gram
