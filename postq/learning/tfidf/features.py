"""TF-IDF rows: term counts, by default dampened, times inverse document frequency, at unit length."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from postq.contracts.recipes import TermWeighting
from postq.learning.tfidf.tokens import TokenStream
from postq.learning.tfidf.vocabulary import Vocabulary

SATURATION = 1.2
LENGTH_SHARE = 0.75
"""BM25's customary k1 and b (Robertson & Zaragoza: The Probabilistic Relevance Framework, 2009, 3.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dampening:
    """How the number of times a term occurs in a document becomes its weight there."""

    kind: TermWeighting
    mean_words: float = 1.0
    """Mean number of words in a training document: what BM25 holds a document's length against."""

    def __call__(self, counts: NDArray[np.int64], words: NDArray[np.int64]) -> NDArray[np.float32]:
        """(entries,) weights of the counts, given the number of words in each entry's document."""
        frequency = counts.astype(np.float32)
        if self.kind == "raw":
            return frequency
        if self.kind == "log":
            return np.log(frequency) + 1
        room = SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * words / self.mean_words)
        return (frequency * (SATURATION + 1) / (frequency + room)).astype(np.float32)


def mean_words(stream: TokenStream) -> float:
    """Mean number of words in a document of the stream, at least 1."""
    return max(1.0, float(stream.lengths.mean())) if len(stream.lengths) else 1.0


def inverse_document_frequency(
    document_frequency: NDArray[np.int64], *, documents: int
) -> NDArray[np.float32]:
    """(features,) ln((1 + n) / (1 + df)) + 1, scikit-learn's smoothed form."""
    return (np.log((1 + documents) / (1 + document_frequency)) + 1).astype(np.float32)


def tfidf_rows(
    stream: TokenStream, vocabulary: Vocabulary, *, idf: NDArray[np.float32], dampening: Dampening
) -> csr_array:
    """(docs, features) float32 rows of unit length; a document without known words is a row of zeros."""
    parts = list(vocabulary.count(stream))
    documents = np.concatenate([part.documents for part in parts] or [np.zeros(0, np.int64)])
    columns = np.concatenate([part.keys for part in parts] or [np.zeros(0, np.int64)])
    values = np.concatenate(
        [dampening(part.counts, stream.lengths[part.documents]) * idf[part.keys] for part in parts]
        or [np.zeros(0, np.float32)]
    )
    pointers = np.searchsorted(documents, np.arange(len(stream.lengths) + 1))
    values /= _lengths(values, documents)[documents]
    shape = (len(stream.lengths), len(vocabulary.features))
    small = np.int32 if len(columns) < 2**31 else np.int64
    return csr_array((values, columns.astype(np.int32), pointers.astype(small)), shape=shape)


def _lengths(values: NDArray[np.float32], documents: NDArray[np.int64]) -> NDArray[np.float32]:
    """(docs,) Euclidean length of each document's entries.

    Each is summed by itself: a difference of running sums would depend, in its last bits, on the documents
    before, and equal texts in other chunks would get other scores.
    """
    return np.sqrt(np.bincount(documents, weights=values.astype(np.float64) ** 2)).astype(np.float32)
