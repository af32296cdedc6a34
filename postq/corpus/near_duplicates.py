"""Clusters of near-duplicate documents: MinHash signatures, banded lookup, verified pairs, union-find."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postq.contracts.document import Document
from postq.corpus.minhash import PERMUTATIONS, MinHasher

SIMILARITY = 0.8
"""Estimated Jaccard similarity of word 5-grams from which two documents count as near-duplicates."""
BAND_ROWS = 5
BANDS = PERMUTATIONS // BAND_ROWS
"""25 bands of 5 find a pair at similarity 0.8 with probability 0.99995; false finds fail verification."""
PROGRESS_DOCUMENTS = 100

Progress = Callable[[int], None]
"""(documents signed so far)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signatures:
    """What is needed to compare documents later without their texts: 528 bytes each."""

    values: NDArray[np.uint32]
    """(docs, PERMUTATIONS)"""
    content_hashes: Sequence[bytes]
    seed: int = 1

    def __len__(self) -> int:
        return len(self.values)


def sign_documents(
    documents: Iterable[Document], *, seed: int = 1, progress: Progress | None = None
) -> Signatures:
    """Signatures of a stream of documents with their texts, in order."""
    hasher = MinHasher(seed=seed)
    values: list[NDArray[np.uint32]] = []
    hashes: list[bytes] = []
    for document in documents:
        values.append(hasher.signature(document.text))
        hashes.append(document.content_hash)
        if progress and len(values) % PROGRESS_DOCUMENTS == 0:
            progress(len(values))
    if progress:
        progress(len(values))
    stacked = np.stack(values) if values else np.empty((0, PERMUTATIONS), dtype=np.uint32)
    return Signatures(values=stacked, content_hashes=hashes, seed=seed)


def cluster_documents(
    documents: Iterable[Document], *, seed: int = 1, progress: Progress | None = None
) -> NDArray[np.int64]:
    """Cluster numbers of a stream of documents with their texts; see `cluster_signatures`."""
    return cluster_signatures(sign_documents(documents, seed=seed, progress=progress))


def cluster_signatures(signatures: Signatures, *, similarity: float = SIMILARITY) -> NDArray[np.int64]:
    """(docs,) cluster numbers, counted from 0 in order of each cluster's first document.

    Equal content hashes always share a cluster; otherwise documents do when a chain of pairs, each of an
    estimated similarity of at least `similarity`, joins them.
    """
    forest = _Forest(len(signatures))
    _join_equal(signatures.content_hashes, forest)
    for keys in _bands(signatures.values):
        for bucket in _runs(keys):
            _join_similar(bucket, signatures.values, forest, similarity)
    return forest.numbers()


def find_near_duplicates(
    known: Signatures, new: Signatures, *, similarity: float = SIMILARITY
) -> NDArray[np.int64]:
    """(new docs,) index of a known document each new one duplicates or nearly duplicates, -1 for none.

    The most similar candidate is given. Both sides must have been signed with the same seed.
    """
    if known.seed != new.seed:
        raise ValueError("signatures of different seeds cannot be compared")
    best = np.full(len(new), -1, dtype=np.int64)
    closeness = np.zeros(len(new))
    for known_keys, new_keys in zip(_bands(known.values), _bands(new.values), strict=True):
        order = np.argsort(known_keys, kind="stable")
        first = np.searchsorted(known_keys[order], new_keys, side="left")
        last = np.searchsorted(known_keys[order], new_keys, side="right")
        for row in np.flatnonzero(last > first):
            candidates = order[first[row] : last[row]]
            equal = (known.values[candidates] == new.values[row]).mean(axis=1)
            top = int(equal.argmax())
            if equal[top] >= similarity and equal[top] > closeness[row]:
                best[row], closeness[row] = candidates[top], equal[top]
    _match_content(known, new, best)
    return best


def _match_content(known: Signatures, new: Signatures, best: NDArray[np.int64]) -> None:
    places = {content: index for index, content in reversed(list(enumerate(known.content_hashes)))}
    for row, content in enumerate(new.content_hashes):
        best[row] = places.get(content, best[row])


def _bands(values: NDArray[np.uint32]) -> Iterator[NDArray[np.uint64]]:
    """(docs,) one 64-bit key per document for each band of its signature."""
    for band in range(BANDS):
        keys = np.zeros(len(values), dtype=np.uint64)
        for column in values[:, band * BAND_ROWS : (band + 1) * BAND_ROWS].T:
            keys = (keys ^ column) * np.uint64(0x9E3779B97F4A7C15)
            keys ^= keys >> np.uint64(29)
        yield keys


def _runs(keys: NDArray[np.uint64]) -> Iterator[NDArray[np.int64]]:
    """Rows that share a key, for each key that at least two have; rows ascending."""
    order = np.argsort(keys, kind="stable")
    edges = np.flatnonzero(np.diff(keys[order])) + 1
    starts, stops = np.concatenate(([0], edges)), np.concatenate((edges, [len(keys)]))
    for index in np.flatnonzero(stops - starts > 1):
        yield order[starts[index] : stops[index]]


def _join_equal(hashes: Sequence[bytes], forest: "_Forest") -> None:
    first_rows: dict[bytes, int] = {}
    for row, content in enumerate(hashes):
        if (first := first_rows.setdefault(content, row)) != row:
            forest.join(first, row)


def _join_similar(
    bucket: NDArray[np.int64], values: NDArray[np.uint32], forest: "_Forest", similarity: float
) -> None:
    """Join rows that are alike, each pair of the bucket compared unless both are in one tree already.

    The row that is compared with all other trees is one of the smallest: of thousands of copies of one form
    and a few strangers, only the strangers are.
    """
    roots = np.array([forest.root(int(row)) for row in bucket], dtype=np.int64)
    while len(bucket) > 1:
        trees, of_row, sizes = np.unique(roots, return_inverse=True, return_counts=True)
        if len(trees) == 1:
            return
        leader = int(sizes[of_row].argmin())
        others = np.flatnonzero(roots != roots[leader])
        alike = others[(values[bucket[others]] == values[bucket[leader]]).mean(axis=1) >= similarity]
        joined = np.unique(np.append(roots[alike], roots[leader]))
        for root in joined:
            forest.join(int(root), int(roots[leader]))
        roots[np.isin(roots, joined)] = joined[0]
        bucket, roots = np.delete(bucket, leader), np.delete(roots, leader)


class _Forest:
    """Union-find over rows; the smallest row of a tree is its root."""

    def __init__(self, size: int) -> None:
        self._parents = list(range(size))

    def root(self, row: int) -> int:
        parents = self._parents
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    def join(self, left: int, right: int) -> None:
        left, right = self.root(left), self.root(right)
        self._parents[max(left, right)] = min(left, right)

    def numbers(self) -> NDArray[np.int64]:
        roots = np.array([self.root(row) for row in range(len(self._parents))], dtype=np.int64)
        return np.unique(roots, return_inverse=True)[1].astype(np.int64)
