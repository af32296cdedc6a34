"""Exact thresholds are compared with brute force on small random and tied cases."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from postq.learning.metrics.ranking import run_ends
from postq.learning.thresholds.decision import apply_thresholds
from postq.learning.thresholds.exact import (
    global_threshold,
    micro_macro_thresholds,
    micro_thresholds,
    per_label_thresholds,
)
from postq.learning.thresholds.sweep import midpoints, sweep
from postq.learning.thresholds.threshold_set import NEVER

Truth = NDArray[np.bool_]
Scores = NDArray[np.float32]

# Few distinct values make ties frequent; the float neighbours of 0.5 make midpoints hard.
LEVELS = [0.0, 0.1, 0.25, 0.5, float(np.nextafter(np.float32(0.5), np.float32(1))), 0.9, 1.0]


@st.composite
def cases(draw: st.DrawFn, *, documents: int = 6, labels: int = 3) -> tuple[Truth, Scores]:
    shape = (draw(st.integers(1, documents)), draw(st.integers(1, labels)))
    truth = draw(arrays(np.bool_, shape))
    scores = draw(arrays(np.float32, shape, elements=st.sampled_from(LEVELS).map(np.float32)))
    return truth, scores


def cuts(scores: NDArray[np.floating]) -> list[float]:
    """Every cut that can make a difference: at each distinct score, and above all."""
    return [*np.unique(scores).astype(float).tolist(), NEVER]


def f1(truth: Truth, predicted: Truth) -> float:
    """scikit-learn's, which takes a hundred times as long; 0 where nothing is true and nothing predicted."""
    total = np.count_nonzero(truth) + np.count_nonzero(predicted)
    return 2 * np.count_nonzero(truth & predicted) / total if total else 0.0


def micro(truth: Truth, scores: Scores, thresholds: NDArray[np.float64] | float) -> float:
    return f1(truth, apply_thresholds(scores, thresholds))


def macro(truth: Truth, scores: Scores, thresholds: NDArray[np.float64]) -> float:
    predicted = apply_thresholds(scores, thresholds)
    columns = range(truth.shape[1])
    return float(np.mean([f1(truth[:, c], predicted[:, c]) for c in columns]))


@given(cases())
@settings(max_examples=50, deadline=None)
def test_the_f1_used_here_is_that_of_scikit_learn(case: tuple[Truth, Scores]) -> None:
    truth, scores = case
    predicted = scores >= np.float32(0.5)
    wanted = f1_score(truth.ravel(), predicted.ravel(), zero_division=0)
    assert f1(truth, predicted) == pytest.approx(wanted)


@given(cases())
@settings(max_examples=150, deadline=None)
def test_the_global_threshold_reaches_the_best_micro_f1_of_any_single_cut(case: tuple[Truth, Scores]) -> None:
    truth, scores = case
    best = max(micro(truth, scores, cut) for cut in cuts(scores))
    assert micro(truth, scores, global_threshold(truth, scores)) == pytest.approx(best)


@given(cases())
@settings(max_examples=150, deadline=None)
def test_per_label_thresholds_reach_the_best_f1_of_every_label(case: tuple[Truth, Scores]) -> None:
    truth, scores = case
    found = per_label_thresholds(truth, scores)
    for label in range(truth.shape[1]):
        column, values = truth[:, [label]], scores[:, [label]]
        best = max(micro(column, values, cut) for cut in cuts(values))
        assert micro(column, values, found[label]) == pytest.approx(best)


@given(cases(documents=5))
@settings(max_examples=100, deadline=None)
def test_dinkelbach_finds_the_best_micro_f1_of_all_combinations(case: tuple[Truth, Scores]) -> None:
    truth, scores = case
    combinations = product(*(cuts(scores[:, label]) for label in range(truth.shape[1])))
    best = max(micro(truth, scores, np.array(each)) for each in combinations)
    assert micro(truth, scores, micro_thresholds(truth, scores)) == pytest.approx(best)


@given(cases(documents=5))
@settings(max_examples=500, deadline=None)
def test_micro_macro_is_no_worse_than_either_alone_and_no_single_label_can_better_it(
    case: tuple[Truth, Scores],
) -> None:
    truth, scores = case

    def both(thresholds: NDArray[np.float64]) -> float:
        return micro(truth, scores, thresholds) + macro(truth, scores, thresholds)

    found = micro_macro_thresholds(truth, scores)
    assert both(found) >= both(micro_thresholds(truth, scores)) - 1e-9
    assert both(found) >= both(per_label_thresholds(truth, scores)) - 1e-9
    for label in range(truth.shape[1]):
        for cut in cuts(scores[:, label]):
            moved = found.copy()
            moved[label] = cut
            assert both(moved) <= both(found) + 1e-9


@given(cases())
@settings(max_examples=100, deadline=None)
def test_equal_scores_are_never_separated_and_cuts_lie_between_distinct_scores(
    case: tuple[Truth, Scores],
) -> None:
    truth, scores = case
    found = sweep(truth[:, 0], scores[:, 0])
    for threshold, predicted, hits in zip(found.thresholds, found.predicted, found.hits, strict=True):
        over = apply_thresholds(scores[:, 0], threshold)
        assert over.sum() == predicted
        assert (over & truth[:, 0]).sum() == hits


def test_a_cut_lies_half_way_between_two_scores() -> None:
    truth = np.array([[True], [False]])
    assert per_label_thresholds(truth, np.array([[0.8], [0.4]], np.float32))[0] == pytest.approx(0.6)


def test_between_neighbouring_floats_the_upper_one_is_the_cut() -> None:
    upper = float(np.nextafter(0.5, 1.0))
    ordered = np.array([upper, 0.5])
    assert midpoints(ordered, run_ends(ordered))[0] == upper


def test_a_label_without_positives_is_never_predicted() -> None:
    scores = np.array([[0.9], [1.0]], np.float32)
    threshold = per_label_thresholds(np.zeros((2, 1), np.bool_), scores)
    assert threshold.tolist() == [NEVER]
    assert not apply_thresholds(scores, threshold).any()


def test_no_documents_give_never_and_not_a_crash() -> None:
    truth, scores = np.zeros((0, 2), np.bool_), np.zeros((0, 2), np.float32)
    assert per_label_thresholds(truth, scores).tolist() == [NEVER, NEVER]
    assert micro_thresholds(truth, scores).tolist() == [NEVER, NEVER]
    assert micro_macro_thresholds(truth, scores).tolist() == [NEVER, NEVER]


def test_with_calibrated_scores_the_best_threshold_is_half_the_best_f1() -> None:
    # Lipton, Elkan and Narayanaswamy 2014: a check of theory on 200,000 documents.
    random = np.random.default_rng(1)
    probabilities = random.beta(0.5, 3, 200_000)
    truth = random.random(len(probabilities)) < probabilities
    threshold = per_label_thresholds(truth[:, None], probabilities[:, None])[0]
    best = f1_score(truth, probabilities >= threshold)
    assert threshold == pytest.approx(best / 2, abs=0.02)
