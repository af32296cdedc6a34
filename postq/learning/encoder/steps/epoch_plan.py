"""Which documents meet in which optimizer step: seeded, by length, independent of the micro-batch size."""

import numpy as np
from numpy.typing import NDArray

POOL_WINDOWS = 8
"""Documents are sorted by length within pools of this many windows: little padding, still random order."""


def plan_epoch(
    lengths: NDArray[np.int64], *, window_documents: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Document indices of each optimizer step of an epoch, longest document first; the last may be short.

    A window is the unit of one optimizer step, so cutting it into more and smaller micro-batches (after a
    device ran out of memory, or by another accumulation setting) changes no gradient.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    windows: list[NDArray[np.int64]] = []
    size = POOL_WINDOWS * window_documents
    for start in range(0, len(order), size):
        pool = order[start : start + size]
        pool = pool[np.argsort(-lengths[pool], kind="stable")]
        windows += [pool[i : i + window_documents] for i in range(0, len(pool), window_documents)]
    return [windows[i] for i in random.permutation(len(windows))]
