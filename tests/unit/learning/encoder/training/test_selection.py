"""Selection metrics agree with brute force, and the default ignores what a shifted logit does."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from postq.learning.encoder.training.selection import selection_value

RANDOM = np.random.default_rng(8)
TRUTH = RANDOM.random((60, 4)) < 0.3
SCORES = np.round(RANDOM.random((60, 4)) * 0.5 + TRUTH * 0.2, 2).astype(np.float32)


def brute_force(truth: np.ndarray, scores: np.ndarray) -> float:
    return max(f1_score(truth, scores >= cut, zero_division=0) for cut in np.unique(scores))


def test_tuned_micro_f1_is_the_best_any_one_threshold_gives() -> None:
    found = selection_value("tuned_micro_f1", TRUTH, SCORES)
    assert found == pytest.approx(brute_force(TRUTH.ravel(), SCORES.ravel()))


def test_tuned_macro_f1_is_the_mean_of_the_best_per_label() -> None:
    found = selection_value("tuned_macro_f1", TRUTH, SCORES)
    assert found == pytest.approx(np.mean([brute_force(TRUTH[:, c], SCORES[:, c]) for c in range(4)]))


def test_f1_at_half_is_micro_f1() -> None:
    expected = f1_score(TRUTH, SCORES >= 0.5, average="micro")
    assert selection_value("f1_at_0.5", TRUTH, SCORES) == pytest.approx(expected)


def test_map_ignores_a_shift_that_ruins_f1_at_half() -> None:
    assert selection_value("map", TRUTH, SCORES) == selection_value("map", TRUTH, SCORES / 3)
    assert selection_value("f1_at_0.5", TRUTH, SCORES / 3) == 0.0


def test_nothing_to_find_counts_as_nothing_found() -> None:
    empty = np.zeros_like(TRUTH)
    for metric in ("map", "f1_at_0.5", "tuned_micro_f1", "tuned_macro_f1"):
        assert selection_value(metric, empty, SCORES) == 0.0  # type: ignore[arg-type]
