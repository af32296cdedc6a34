"""Epochs are shuffled by seed and cut into windows of documents of like length."""

import numpy as np

from postq.learning.encoder.steps.epoch_plan import plan_epoch

LENGTHS = np.random.default_rng(1).integers(5, 4000, size=1003)


def plan(**options: int) -> list[np.ndarray]:
    return plan_epoch(LENGTHS, **{"window_documents": 16, "seed": 42, "epoch": 0, **options})


def test_every_document_comes_exactly_once_and_only_one_window_is_short() -> None:
    windows = plan()
    assert sorted(np.concatenate(windows)) == list(range(1003))
    assert sorted(map(len, windows))[:2] == [11, 16]


def test_equal_seed_and_epoch_give_equal_plans_and_others_do_not() -> None:
    same = [np.array_equal(a, b) for a, b in zip(plan(), plan(), strict=True)]
    other = [np.array_equal(a, b) for a, b in zip(plan(), plan(epoch=1), strict=True)]
    assert all(same)
    assert not any(other)


def test_windows_hold_documents_of_like_length_longest_first() -> None:
    windows = plan()
    assert all((np.diff(LENGTHS[window]) <= 0).all() for window in windows)
    padded = sum(LENGTHS[w].max() * len(w) for w in windows) / LENGTHS.sum()
    shuffled = np.random.default_rng(0).permutation(LENGTHS)
    unsorted = sum(shuffled[i : i + 16].max() * 16 for i in range(0, 992, 16)) / shuffled[:992].sum()
    assert padded < 1.25 < unsorted


def test_the_order_of_windows_is_random() -> None:
    means = [LENGTHS[window].mean() for window in plan()]
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.3
