"""Folds for out-of-fold scores: near-duplicates stay together, labels are spread evenly."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def assign_folds(
    truth: NDArray[np.bool_], clusters: Sequence[int], *, folds: int, seed: int
) -> NDArray[np.int64]:
    """(docs,) fold of each document, after Sechidis et al. 2011, by cluster and in one pass.

    Clusters are placed one by one, those with the rarest label first, each into the fold that so far has
    the fewest documents of that label, then the fewest documents.
    """
    members: defaultdict[int, list[int]] = defaultdict(list)
    for document, cluster in enumerate(clusters):
        members[cluster].append(document)
    groups = list(members.values())
    frequency = truth.sum(axis=0)
    rarest = [_rarest_label(np.asarray(truth[group].any(axis=0)), frequency) for group in groups]
    generator = np.random.default_rng(seed)
    order = sorted(generator.permutation(len(groups)).tolist(), key=lambda at: _rank(rarest[at], frequency))
    fold = np.zeros(len(truth), np.int64)
    by_label, size = np.zeros((folds, truth.shape[1])), np.zeros(folds)
    for at in order:
        label = rarest[at]
        wanted = by_label[:, label] if label is not None else size
        chosen = int(np.lexsort((size, wanted))[0])
        fold[groups[at]] = chosen
        by_label[chosen] += truth[groups[at]].sum(axis=0)
        size[chosen] += len(groups[at])
    return fold


def _rarest_label(carried: NDArray[np.bool_], frequency: NDArray[np.int64]) -> int | None:
    if not carried.any():
        return None
    return int(np.where(carried, frequency, np.iinfo(np.int64).max).argmin())


def _rank(label: int | None, frequency: NDArray[np.int64]) -> float:
    return float("inf") if label is None else float(frequency[label])
