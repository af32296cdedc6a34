"""Metrics follow scikit-learn's definitions, over a fixed list of labels."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn import metrics as reference

from postq.learning.metrics.breakdown import by_label, by_length
from postq.learning.metrics.counts import summary
from postq.learning.metrics.ranking import average_precision, mean_average_precision
from postq.learning.metrics.reliability import brier_score, expected_calibration_error, reliability_bins
from postq.learning.metrics.wilson import wilson_interval

Bools = NDArray[np.bool_]


@st.composite
def judged(draw: st.DrawFn) -> tuple[Bools, Bools]:
    shape = (draw(st.integers(1, 8)), draw(st.integers(2, 5)))
    return draw(arrays(np.bool_, shape)), draw(arrays(np.bool_, shape))


@given(judged())
@settings(max_examples=40, deadline=None)
def test_thresholded_metrics_equal_scikit_learn(case: tuple[Bools, Bools]) -> None:
    truth, predicted = case
    ours = summary(truth, predicted)
    for average in ("micro", "macro", "weighted", "samples"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = reference.precision_recall_fscore_support(
                truth, predicted, average=average, zero_division=0
            )
        for name, value in zip(("precision", "recall", "f1"), theirs, strict=False):
            assert ours[f"{average}_{name}"] == pytest.approx(value, abs=1e-12), (average, name)
    assert ours["exact_match"] == pytest.approx(reference.accuracy_score(truth, predicted))
    assert ours["hamming_loss"] == pytest.approx(reference.hamming_loss(truth, predicted))


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_average_precision_equals_scikit_learn_with_ties(data: st.DataObject) -> None:
    documents = data.draw(st.integers(1, 12))
    truth = data.draw(arrays(np.bool_, documents).filter(lambda column: column.any()))
    levels = st.sampled_from([0.0, 0.2, 0.2000001, 0.7, 1.0])
    scores = data.draw(arrays(np.float64, documents, elements=levels))
    ours = average_precision(truth[:, None], scores[:, None])[0]
    assert ours == pytest.approx(reference.average_precision_score(truth, scores))


def test_labels_without_positives_have_no_average_precision_and_do_not_enter_the_mean() -> None:
    truth = np.array([[True, False], [False, False]])
    scores = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert np.isnan(average_precision(truth, scores)[1])
    assert mean_average_precision(truth, scores) == 1.0
    assert mean_average_precision(np.zeros((2, 2), np.bool_), scores) is None


def test_macro_runs_over_the_fixed_list_and_supported_macro_over_labels_that_occur() -> None:
    truth = np.array([[True, False], [True, False]])
    facts = summary(truth, truth)
    assert facts["macro_f1"] == 0.5
    assert facts["macro_f1_supported"] == 1.0


def test_truths_the_model_does_not_know_lower_the_micro_f1_over_all_truths_only() -> None:
    truth = np.array([[True], [True]])
    facts = summary(truth, truth, unlearned=2)
    assert facts["micro_f1"] == 1.0
    assert facts["micro_f1_all_truths"] == pytest.approx(2 * 2 / (2 + 4))


def test_the_rare_tier_is_that_of_the_training_split() -> None:
    truth = np.array([[True, True], [False, True]])
    predicted = np.array([[True, False], [False, True]])
    facts = summary(truth, predicted, training_support=np.array([49, 50]))
    assert facts["rare_macro_f1"] == 1.0
    assert summary(truth, predicted, training_support=np.array([50, 50]))["rare_macro_f1"] is None


def test_no_documents_give_none_and_no_warning() -> None:
    empty = np.zeros((0, 2), np.bool_)
    facts = summary(empty, empty)
    assert facts["samples_f1"] is None
    assert facts["exact_match"] is None
    assert facts["micro_f1"] == 0.0
    assert brier_score(empty, np.zeros((0, 2))) is None
    assert expected_calibration_error(empty, np.zeros((0, 2))) is None


def test_the_brier_score_equals_scikit_learn_label_by_label() -> None:
    random = np.random.default_rng(0)
    truth, scores = random.random((50, 3)) < 0.3, random.random((50, 3))
    theirs = np.mean([reference.brier_score_loss(truth[:, c], scores[:, c]) for c in range(3)])
    assert brier_score(truth, scores) == pytest.approx(theirs)


def test_calibration_error_is_small_for_honest_scores_and_large_for_bold_ones() -> None:
    random = np.random.default_rng(0)
    honest = random.random((20_000, 1))
    truth = random.random(honest.shape) < honest
    bold = np.where(honest > 0.5, 0.99, 0.01)
    assert (expected_calibration_error(truth, honest) or 0) < 0.02
    assert (expected_calibration_error(truth, bold) or 0) > 0.2
    bins = reliability_bins(truth, honest)
    assert sum(row["count"] for row in bins) == truth.size


def test_the_wilson_interval_is_the_published_one_and_sane_at_the_ends() -> None:
    assert wilson_interval(0, 0) is None
    low, high = wilson_interval(8, 10) or (0, 0)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert (wilson_interval(0, 5) or (1, 1))[0] == 0.0
    assert (wilson_interval(5, 5) or (0, 0))[1] == 1.0


def test_the_label_table_has_support_and_intervals() -> None:
    truth = np.array([[True, False], [True, False], [False, False]])
    predicted = np.array([[True, False], [False, False], [True, False]])
    rows = by_label(truth, predicted, predicted.astype(float), labels=("a", "b"))
    assert (rows[0]["support"], rows[0]["predicted"], rows[0]["hits"]) == (2, 2, 1)
    assert rows[0]["precision_interval"] == wilson_interval(1, 2)
    assert rows[1]["average_precision"] is None
    assert rows[1]["recall_interval"] is None


def test_length_buckets_hold_every_document_once() -> None:
    truth = np.ones((4, 1), np.bool_)
    rows = by_length(truth, truth, np.array([10, 499, 500, 40_000]))
    assert [(row["from_words"], row["to_words"], row["documents"]) for row in rows] == [
        (0, 500, 2), (500, 1_000, 1), (16_000, None, 1),
    ]  # fmt: skip
    assert all(row["micro_f1"] == 1.0 for row in rows)
