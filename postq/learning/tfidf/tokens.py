"""Text to token numbers: scikit-learn's default token definition, without a Python object per n-gram."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, repeat

import numpy as np
from numpy.typing import NDArray

UNKNOWN = 0
"""Token number of a word no feature needs; known words count from 1."""
DROPPED = -1
"""Token number of what is no token at all: the words on its two sides become neighbours."""

_find_words: Callable[[str], list[str]] = re.compile(r"\w\w+").findall
# Lower-cases letters and blanks everything that is no word character; `translate` is fast on ASCII only.
_ASCII_TABLE = "".join(chr(code).lower() if re.match(r"\w", chr(code)) else " " for code in range(128))
_COMMON_PUNCTUATION = "•●·▪“”‘’–—−…§€£¢°«»\u00a0\u00ad\u2009\u202f\ufeff"
_SINGLE_CHARACTERS = {chr(code): DROPPED for code in range(128) if re.match(r"\w", chr(code))}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStream:
    """Token numbers of several documents, side by side."""

    ids: NDArray[np.int32]
    """(tokens,)"""
    lengths: NDArray[np.int64]
    """(docs,) tokens of each document."""

    def renumbered(self, numbers: NDArray[np.int32]) -> "TokenStream":
        """The same stream with every id replaced by `numbers[id]`; DROPPED ones are taken out."""
        return TokenStream(ids=numbers[self.ids], lengths=self.lengths).without_dropped()

    def without_dropped(self) -> "TokenStream":
        """The same stream without DROPPED tokens."""
        kept = self.ids != DROPPED
        before = np.concatenate([[0], np.cumsum(kept)])
        ends = np.cumsum(self.lengths)
        return TokenStream(ids=self.ids[kept], lengths=before[ends] - before[ends - self.lengths])


def find_tokens(text: str) -> list[str]:
    r"""Lower-cased maximal runs of two or more word characters, as scikit-learn's `(?u)\b\w\w+\b` finds them.

    Runs of one ASCII character may be among them: the caller drops those by their number, which is cheaper.
    """
    if not text.isascii():
        for mark in _COMMON_PUNCTUATION:
            text = text.replace(mark, " ")
    return text.translate(_ASCII_TABLE).split() if text.isascii() else _find_words(text.lower())


def token_numbers(words: Sequence[str], *, dropped: Sequence[str] = ()) -> dict[str, int]:
    """Numbers for `number_tokens`: `words` from 1 in their order; `dropped` and single characters DROPPED."""
    numbers = dict(_SINGLE_CHARACTERS)
    numbers.update((word, DROPPED) for word in dropped)
    numbers.update((word, index) for index, word in enumerate(words, start=1))
    return numbers


def number_tokens(texts: Sequence[str], numbers: Mapping[str, int]) -> TokenStream:
    """Look every token up in `numbers`; words it lacks become UNKNOWN."""
    parts = []
    for text in texts:
        tokens = find_tokens(text)
        parts.append(np.fromiter(map(numbers.get, tokens, repeat(UNKNOWN)), np.int32, len(tokens)))
    return joined(parts).without_dropped()


def intern_tokens(texts: Sequence[str]) -> tuple[list[str], TokenStream]:
    """The distinct tokens of `texts` in order of appearance, and the stream that indexes them from 0."""
    numbers: defaultdict[str, int] = defaultdict(count().__next__)
    parts = []
    for text in texts:
        tokens = find_tokens(text)
        parts.append(np.fromiter(map(numbers.__getitem__, tokens), np.int32, len(tokens)))
    return list(numbers), joined(parts)


def joined(parts: Sequence[NDArray[np.int32]]) -> TokenStream:
    """One stream of the documents in `parts`."""
    ids = np.concatenate(parts) if parts else np.zeros(0, np.int32)
    return TokenStream(ids=ids, lengths=np.array([len(part) for part in parts], np.int64))
