"""Choosing the features: document frequencies over the training texts, cut to the most frequent n-grams."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postq.counted import counted
from postq.errors import NotTrainable
from postq.learning.tfidf.ngrams import NgramScheme, count_ngrams, find_ngrams, run_starts
from postq.learning.tfidf.tokens import DROPPED, UNKNOWN, TokenStream, joined
from postq.learning.tfidf.vocabulary import Vocabulary, batches

MERGE_ENTRIES = 2**24
"""Tallies of this many n-grams are merged before more are gathered, to bound memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Per n-gram: in how many documents, and how often in all."""

    keys: NDArray[np.int64]
    documents: NDArray[np.int64]
    occurrences: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The vocabulary, document frequencies in its order, and the stream numbered by its words."""

    vocabulary: Vocabulary
    document_frequency: NDArray[np.int64]
    """(features,)"""
    stream: TokenStream


def merge_interned(parts: Iterable[tuple[list[str], TokenStream]]) -> tuple[list[str], TokenStream]:
    """One word list and one stream from the parts that `tokens.intern_tokens` made."""
    numbers: dict[str, int] = {}
    ids, lengths = [], []
    for words, stream in parts:
        numbering = np.fromiter((numbers.setdefault(w, len(numbers)) for w in words), np.int32, len(words))
        ids.append(numbering[stream.ids])
        lengths.append(stream.lengths)
    merged = TokenStream(ids=joined(ids).ids, lengths=np.concatenate(lengths or [np.zeros(0, np.int64)]))
    return list(numbers), merged


def select_features(
    words: Sequence[str],
    stream: TokenStream,
    *,
    ngram_max: int,
    min_df: int,
    max_df: float,
    max_features: int,
    stop_words: Iterable[str] = (),
) -> Selection:
    """Features as scikit-learn's TfidfVectorizer chooses them; ties at the cut go to the earlier n-gram.

    `stream` indexes `words` from 0. Raises NotTrainable when no n-gram is in at least `min_df` documents.
    """
    stops = frozenset(stop_words)
    stream, frequent = _number_frequent(words, stream, min_df=min_df, stops=stops)
    scheme = NgramScheme(words=len(frequent), ngram_max=ngram_max)
    tally = _tally(stream, scheme)
    kept = (tally.documents >= min_df) & (tally.documents <= max_df * len(stream.lengths))
    chosen = np.flatnonzero(kept)
    chosen = chosen[np.argsort(-tally.occurrences[chosen], kind="stable")][:max_features]
    if not len(chosen):
        raise NotTrainable(
            f"No word is in {counted(min_df, 'training document')} or more and in at most {max_df:.0%}.",
            hint="Add documents, lower min_df or raise max_df.",
        )
    names = [" ".join(frequent[n - 1] for n in scheme.numbers(key)) for key in tally.keys[chosen].tolist()]
    order = sorted(range(len(names)), key=names.__getitem__)
    vocabulary = Vocabulary(
        features=tuple(names[index] for index in order), ngram_max=ngram_max, stop_words=tuple(sorted(stops))
    )
    return Selection(
        vocabulary=vocabulary,
        document_frequency=tally.documents[chosen[order]],
        stream=_renumber(stream, frequent, vocabulary),
    )


def _number_frequent(
    words: Sequence[str], stream: TokenStream, *, min_df: int, stops: frozenset[str]
) -> tuple[TokenStream, list[str]]:
    """Number words in `min_df` or more documents from 1; an n-gram cannot be more frequent than its words."""
    frequency = np.zeros(len(words), np.int64)
    ends = np.cumsum(stream.lengths)
    for start, stop in zip(ends - stream.lengths, ends, strict=True):
        frequency[np.unique(stream.ids[start:stop])] += 1
    numbers = np.full(len(words), UNKNOWN, np.int32)
    frequent: list[str] = []
    for index, word in enumerate(words):
        if len(word) < 2 or word in stops:
            numbers[index] = DROPPED
        elif frequency[index] >= min_df:
            frequent.append(word)
            numbers[index] = len(frequent)
    return stream.renumbered(numbers), frequent


def _renumber(stream: TokenStream, words: Sequence[str], vocabulary: Vocabulary) -> TokenStream:
    """From the numbers of all frequent words to those of the vocabulary's words."""
    numbers = [UNKNOWN, *(vocabulary.numbers.get(word, UNKNOWN) for word in words)]
    return stream.renumbered(np.array(numbers, np.int32))


def _tally(stream: TokenStream, scheme: NgramScheme) -> Tally:
    parts: list[Tally] = []
    for _, batch in batches(stream, documents=scheme.batch_documents):
        counts = count_ngrams(find_ngrams(batch, scheme), scheme)
        parts.append(_by_key(counts.keys, np.ones(len(counts.keys), np.int64), counts.counts))
        if sum(len(part.keys) for part in parts) > MERGE_ENTRIES:
            parts = [_merged(parts)]
    return _merged(parts)


def _merged(parts: Sequence[Tally]) -> Tally:
    return _by_key(
        np.concatenate([np.zeros(0, np.int64), *(part.keys for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part.documents for part in parts)]),
        np.concatenate([np.zeros(0, np.int64), *(part.occurrences for part in parts)]),
    )


def _by_key(keys: NDArray[np.int64], documents: NDArray[np.int64], occurrences: NDArray[np.int64]) -> Tally:
    order = np.argsort(keys, kind="stable")
    starts = run_starts(keys[order])
    if not len(starts):
        return Tally(keys=keys, documents=documents, occurrences=occurrences)
    return Tally(
        keys=keys[order][starts],
        documents=np.add.reduceat(documents[order], starts),
        occurrences=np.add.reduceat(occurrences[order], starts),
    )
