"""Counting n-grams as 64-bit keys: one sort per batch instead of a dictionary of strings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postq.errors import BadInput
from postq.learning.tfidf.tokens import UNKNOWN, TokenStream

KEY_BITS = 62
"""Bits of an int64 used for (document, n-gram) pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NgramScheme:
    """How n-grams become keys: the token numbers (1 to `words`) side by side, `bits` bits each."""

    words: int
    ngram_max: int

    @property
    def bits(self) -> int:
        """Bits of one token number."""
        return max(1, self.words.bit_length())

    @property
    def batch_documents(self) -> int:
        """Most documents of one batch, so that (document, key) fits KEY_BITS.

        Raises BadInput when not even one document fits: too many distinct words for such long n-grams.
        """
        spare = KEY_BITS - self.bits * self.ngram_max
        if spare < 0:
            raise BadInput(
                f"{self.words} distinct words are too many for n-grams of {self.ngram_max} words.",
                hint="Lower ngram_max or raise min_df.",
            )
        return int(2 ** min(spare, 31))

    def key(self, numbers: tuple[int, ...]) -> int:
        """The key of one n-gram, given as token numbers."""
        key = 0
        for number in numbers:
            key = key << self.bits | number
        return key

    def numbers(self, key: int) -> tuple[int, ...]:
        """The token numbers of a key."""
        found: list[int] = []
        while key:
            found.insert(0, key & ((1 << self.bits) - 1))
            key >>= self.bits
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ngrams:
    """Every n-gram of a batch that holds no unknown word, in no particular order."""

    documents: NDArray[np.int64]
    """(ngrams,) index of the document within the batch."""
    keys: NDArray[np.int64]
    """(ngrams,)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NgramCounts:
    """How often each n-gram occurs in each document; sorted by document, then key."""

    documents: NDArray[np.int64]
    """(entries,) index of the document within its batch."""
    keys: NDArray[np.int64]
    """(entries,)"""
    counts: NDArray[np.int64]
    """(entries,)"""


def find_ngrams(stream: TokenStream, scheme: NgramScheme) -> Ngrams:
    """All n-grams of 1 to `ngram_max` neighbouring words of one document."""
    documents = np.repeat(np.arange(len(stream.lengths)), stream.lengths)
    ids = stream.ids.astype(np.int64)
    known = ids != UNKNOWN
    keys, whole = ids, known
    found = [(documents[whole], keys[whole])]
    for n in range(2, scheme.ngram_max + 1):
        keys = keys[:-1] << scheme.bits | ids[n - 1 :]
        same = documents[: len(keys)] == documents[n - 1 :]
        whole = whole[:-1] & known[n - 1 :] & same
        found.append((documents[: len(keys)][whole], keys[whole]))
    return Ngrams(
        documents=np.concatenate([part for part, _ in found]),
        keys=np.concatenate([part for _, part in found]),
    )


def count_ngrams(ngrams: Ngrams, scheme: NgramScheme) -> NgramCounts:
    """Tally equal (document, key) pairs by sorting them as one number."""
    shift = scheme.bits * scheme.ngram_max
    pairs = ngrams.documents << shift | ngrams.keys
    pairs.sort()
    starts = run_starts(pairs)
    firsts = pairs[starts]
    return NgramCounts(
        documents=firsts >> shift,
        keys=firsts & ((1 << shift) - 1),
        counts=np.diff(np.append(starts, len(pairs))),
    )


def run_starts(ordered: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each run of equal values starts in a sorted array."""
    if not len(ordered):
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
