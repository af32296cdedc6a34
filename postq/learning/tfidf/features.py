"""TF-IDF rows: term counts, optionally dampened, times inverse document frequency, at unit length."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from postq.learning.tfidf.ngrams import NgramCounts
from postq.learning.tfidf.tokens import TokenStream
from postq.learning.tfidf.vocabulary import Vocabulary


def inverse_document_frequency(
    document_frequency: NDArray[np.int64], *, documents: int
) -> NDArray[np.float32]:
    """(features,) ln((1 + n) / (1 + df)) + 1, scikit-learn's smoothed form."""
    return (np.log((1 + documents) / (1 + document_frequency)) + 1).astype(np.float32)


def tfidf_rows(
    stream: TokenStream, vocabulary: Vocabulary, *, idf: NDArray[np.float32], sublinear_tf: bool
) -> csr_array:
    """(docs, features) float32 rows of unit length; a document without known words is a row of zeros."""
    parts = list(vocabulary.count(stream))
    documents = np.concatenate([part.documents for part in parts] or [np.zeros(0, np.int64)])
    columns = np.concatenate([part.keys for part in parts] or [np.zeros(0, np.int64)])
    values = np.concatenate(
        [_weights(part, idf, sublinear_tf=sublinear_tf) for part in parts] or [np.zeros(0, np.float32)]
    )
    pointers = np.searchsorted(documents, np.arange(len(stream.lengths) + 1))
    values /= np.repeat(_norms(values, pointers), np.diff(pointers))
    shape = (len(stream.lengths), len(vocabulary.features))
    small = np.int32 if len(columns) < 2**31 else np.int64
    return csr_array((values, columns.astype(np.int32), pointers.astype(small)), shape=shape)


def _weights(counts: NgramCounts, idf: NDArray[np.float32], *, sublinear_tf: bool) -> NDArray[np.float32]:
    frequency = counts.counts.astype(np.float32)
    if sublinear_tf:
        frequency = np.log(frequency) + 1
    return frequency * idf[counts.keys]


def _norms(values: NDArray[np.float32], pointers: NDArray[np.int64]) -> NDArray[np.float32]:
    """(docs,) Euclidean lengths; 1 for rows without entries."""
    sums = np.concatenate([[0.0], np.cumsum(values.astype(np.float64) ** 2)])
    squared = sums[pointers[1:]] - sums[pointers[:-1]]
    return np.sqrt(np.where(np.diff(pointers) > 0, squared, 1.0)).astype(np.float32)
