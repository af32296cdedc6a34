"""Bagged and shrunk thresholds equal a slow bootstrap, and are steadier where labels are rare."""

import numpy as np
import pytest
from numpy.typing import NDArray

from postq.learning.thresholds.exact import global_threshold, per_label_thresholds
from postq.learning.thresholds.robust import (
    BAGS,
    bag_logits,
    bagged_thresholds,
    intervals,
    shrunk_thresholds,
)
from postq.learning.thresholds.sweep import from_logit, to_logit


def planted(documents: int, labels: int, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Rare labels whose scores overlap: positives sit 1.5 logits higher."""
    random = np.random.default_rng(seed)
    truth = random.random((documents, labels)) < 0.03
    logits = random.normal(-1, 1, truth.shape) + 1.5 * truth
    return truth, from_logit(logits).astype(np.float32)


def test_bags_equal_a_slow_bootstrap_that_copies_the_drawn_documents() -> None:
    truth, scores = planted(120, 3, seed=3)
    scores = np.round(scores, 2)  # ties
    draws = np.random.default_rng(9).multinomial(120, np.full(120, 1 / 120), BAGS)
    fast = bag_logits(truth, scores, seed=9)
    for bag in range(BAGS):
        rows = np.repeat(np.arange(120), draws[bag])
        for label in range(3):
            if not truth[rows, label].any():
                assert np.isnan(fast[bag, label])
                continue
            # The slow way sees only the drawn scores; cuts differ, what they predict does not.
            slow = per_label_thresholds(truth[rows][:, [label]], scores[rows][:, [label]])[0]
            ours = from_logit(fast[bag, [label]])[0]
            assert ((scores[rows, label] >= slow) == (scores[rows, label] >= ours)).all()


def test_equal_seeds_give_equal_bags() -> None:
    truth, scores = planted(100, 2, seed=1)
    assert np.array_equal(
        bag_logits(truth, scores, seed=5), bag_logits(truth, scores, seed=5), equal_nan=True
    )
    assert not np.array_equal(
        bag_logits(truth, scores, seed=5), bag_logits(truth, scores, seed=6), equal_nan=True
    )


def test_a_label_that_no_bag_saw_takes_the_fallback_and_has_no_interval() -> None:
    truth, scores = planted(50, 2, seed=0)
    truth[:, 1] = False
    logits = bag_logits(truth, scores, seed=1)
    assert bagged_thresholds(logits, fallback=0.37)[1] == 0.37
    found = intervals(logits)
    assert found[1] is None
    assert found[0] is not None
    low, high = found[0]
    assert 0 <= low <= high <= 1


def test_shrinkage_leaves_frequent_labels_alone_and_draws_rare_ones_to_the_global_threshold() -> None:
    values = shrunk_thresholds(np.array([0.1, 0.1, 0.1]), positives=np.array([0, 5, 100_000]), towards=0.6)
    assert values[0] == pytest.approx(0.6)
    assert to_logit(values[1]) == pytest.approx((to_logit(0.1) + to_logit(0.6)) / 2)
    assert values[2] == pytest.approx(0.1, abs=1e-3)


def test_on_rare_overlapping_labels_shrunk_thresholds_beat_exact_ones_on_new_documents() -> None:
    gains = []
    for seed in range(6):
        truth, scores = planted(300, 20, seed=seed)
        new_truth, new_scores = planted(4_000, 20, seed=100 + seed)
        common = global_threshold(truth, scores)
        bagged = bagged_thresholds(bag_logits(truth, scores, seed=seed), fallback=common)
        shrunk = shrunk_thresholds(bagged, positives=truth.sum(axis=0), towards=common)
        exact = per_label_thresholds(truth, scores)
        gains.append(_micro(new_truth, new_scores, shrunk) - _micro(new_truth, new_scores, exact))
    assert min(gains) > 0


def _micro(truth: NDArray[np.bool_], scores: NDArray[np.float32], thresholds: NDArray[np.float64]) -> float:
    predicted = scores >= thresholds
    return float(2 * (predicted & truth).sum() / (predicted.sum() + truth.sum()))
