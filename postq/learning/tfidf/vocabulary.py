"""The n-grams that became features, and how to find them in token streams."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from postq.learning.tfidf.ngrams import NgramCounts, Ngrams, NgramScheme, count_ngrams, find_ngrams
from postq.learning.tfidf.tokens import TokenStream, token_numbers

FILTER_BITS = 22
"""Size of the table that rules out most n-grams before they are sorted: 4 MiB, one byte a slot."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Features in their column order; each is one to `ngram_max` words joined by a space."""

    features: tuple[str, ...]
    ngram_max: int
    stop_words: tuple[str, ...] = ()

    @cached_property
    def words(self) -> list[str]:
        """The distinct words of all features, in order of appearance; word i has token number i + 1."""
        return list(dict.fromkeys(word for feature in self.features for word in feature.split(" ")))

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Token numbers for `tokens.number_tokens`."""
        return token_numbers(self.words, dropped=self.stop_words)

    @cached_property
    def scheme(self) -> NgramScheme:
        """How n-grams of these words become keys."""
        return NgramScheme(words=len(self.words), ngram_max=self.ngram_max)

    @cached_property
    def _ordered(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(features,) keys in ascending order, and the column of each."""
        numbers, scheme = self.numbers, self.scheme
        coded = (scheme.key(tuple(numbers[word] for word in name.split(" "))) for name in self.features)
        keys = np.fromiter(coded, np.int64, len(self.features))
        order = np.argsort(keys)
        return keys[order], order

    @cached_property
    def _filter(self) -> NDArray[np.bool_]:
        table = np.zeros(1 << FILTER_BITS, dtype=np.bool_)
        table[_slots(self._ordered[0])] = True
        return table

    def count(self, stream: TokenStream) -> Iterator[NgramCounts]:
        """Counts of the features in each document, batch by batch; `keys` are feature columns.

        `documents` count from the start of the stream.
        """
        for first, batch in batches(stream, documents=self.scheme.batch_documents):
            ngrams = find_ngrams(batch, self.scheme)
            likely = self._filter[_slots(ngrams.keys)]
            ngrams = Ngrams(documents=ngrams.documents[likely], keys=ngrams.keys[likely])
            yield self._columns(count_ngrams(ngrams, self.scheme), first=first)

    def _columns(self, counts: NgramCounts, *, first: int) -> NgramCounts:
        ordered, column = self._ordered
        at = np.minimum(np.searchsorted(ordered, counts.keys), len(ordered) - 1)
        hit = ordered[at] == counts.keys
        return NgramCounts(
            documents=counts.documents[hit] + first, keys=column[at[hit]], counts=counts.counts[hit]
        )


def batches(
    stream: TokenStream, *, documents: int, tokens: int = 2_000_000
) -> Iterator[tuple[int, TokenStream]]:
    """(first document, part) of a stream, each of at most `documents` documents and about `tokens` tokens."""
    ends = np.cumsum(stream.lengths)
    first = 0
    while first < len(ends):
        start = int(ends[first] - stream.lengths[first])
        last = int(np.searchsorted(ends, start + tokens, side="right"))
        last = min(max(last, first + 1), first + documents)
        stop = int(ends[last - 1])
        yield first, TokenStream(ids=stream.ids[start:stop], lengths=stream.lengths[first:last])
        first = last


def _slots(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    hashed: NDArray[np.uint64] = keys.view(np.uint64) * _GOLDEN
    return (hashed >> np.uint64(64 - FILTER_BITS)).astype(np.int64)
