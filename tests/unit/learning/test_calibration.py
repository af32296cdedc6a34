"""Calibration mends over- and underconfidence, keeps the ranking, and is fitted on honest scores only."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from postq.errors import IntegrityError, NotTrainable
from postq.learning.calibration import Calibration, CalibrationMethod, fit_calibration
from postq.learning.metrics.ranking import average_precision
from postq.learning.metrics.reliability import expected_calibration_error
from postq.learning.thresholds.sweep import from_logit, to_logit


def overconfident(seed: int = 0) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Scores whose logits are three times too large."""
    random = np.random.default_rng(seed)
    logits = random.normal(-1, 1, (4_000, 2))
    truth = random.random(logits.shape) < from_logit(logits)
    return truth, from_logit(3 * logits).astype(np.float32)


def fitted(method: CalibrationMethod) -> Calibration:
    truth, scores = overconfident()
    return fit_calibration(
        truth, scores, labels=("a", "b"), method=method, score_space="sigmoid", fitted_on="validation"
    )


@pytest.mark.parametrize("method", ["temperature", "platt"])
def test_overconfident_scores_become_honest_on_new_documents(method: CalibrationMethod) -> None:
    truth, scores = overconfident(seed=1)
    better = fitted(method).apply(scores, score_space="sigmoid")
    assert (expected_calibration_error(truth, scores) or 0) > 0.1
    assert (expected_calibration_error(truth, better) or 1) < 0.02
    assert average_precision(truth, better) == pytest.approx(average_precision(truth, scores), abs=1e-6)


def test_the_temperature_is_recovered() -> None:
    assert fitted("temperature").slopes == pytest.approx((1 / 3, 1 / 3), rel=0.05)


def test_platt_equals_an_unregularised_logistic_regression_on_the_logit() -> None:
    truth, scores = overconfident()
    found = fitted("platt")
    for label in range(2):
        reference = LogisticRegression(C=np.inf, tol=1e-10).fit(to_logit(scores[:, [label]]), truth[:, label])
        assert found.slopes[label] == pytest.approx(reference.coef_[0, 0], rel=5e-3)
        assert found.offsets[label] == pytest.approx(reference.intercept_[0], abs=5e-3)


def test_labels_with_few_positives_or_a_reversed_ranking_are_left_alone() -> None:
    truth, scores = overconfident()
    truth[:, 0] = False
    truth[:4, 0] = True
    scores[:, 1] = 1 - scores[:, 1]
    found = fit_calibration(
        truth, scores, labels=("few", "reversed"), method="platt", score_space="s", fitted_on="validation"
    )
    assert found.untouched == ("few", "reversed")
    assert np.allclose(found.apply(scores, score_space="s"), scores, atol=1e-5)


def test_training_scores_other_spaces_and_unlabelled_documents_are_refused() -> None:
    truth, scores = overconfident()
    with pytest.raises(IntegrityError, match="overconfidence"):
        fit_calibration(
            truth, scores, labels=("a", "b"), method="platt", score_space="s", fitted_on="nothing"
        )
    with pytest.raises(IntegrityError, match="space"):
        fitted("platt").apply(scores, score_space="sigmoid-balanced")
    with pytest.raises(NotTrainable):
        fit_calibration(
            truth & False, scores, labels=("a", "b"), method="platt", score_space="s", fitted_on="validation"
        )
