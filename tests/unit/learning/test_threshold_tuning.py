"""A tuned ThresholdSet says where every value came from, and is refused for other models' scores."""

from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from postq.contracts.recipes import ThresholdMethod
from postq.errors import IntegrityError, LabelSetMismatch
from postq.learning.thresholds.cross_fit import cross_fitted_predictions
from postq.learning.thresholds.sweep import from_logit
from postq.learning.thresholds.threshold_set import ThresholdSet, threshold_digest
from postq.learning.thresholds.tuning import tune_thresholds

LABELS = ("common", "rare", "absent")


def case(seed: int = 0, documents: int = 200) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    truth = random.random((documents, 3)) < [0.4, 0.02, 0.0]
    truth[:3, 1] = True
    logits = random.normal(-1, 1, truth.shape) + 2 * truth
    return truth, from_logit(logits).astype(np.float32)


def tuned(method: ThresholdMethod, *, seed: int = 0) -> ThresholdSet:
    truth, scores = case(seed)
    return tune_thresholds(
        truth, scores, labels=LABELS, method=method, score_space="sigmoid", tuned_on="validation"
    )


@pytest.mark.parametrize("method", get_args(ThresholdMethod))
def test_every_method_gives_a_threshold_and_its_provenance_to_every_label(method: ThresholdMethod) -> None:
    truth, scores = case()
    found = tuned(method)
    assert found.names == LABELS
    assert found.method == method
    assert [entry.positives for entry in found.labels] == truth.sum(axis=0).tolist()
    assert ThresholdSet.model_validate_json(found.model_dump_json()) == found
    predicted = found.decide(scores)
    common = found.labels[0]
    assert common.expected_recall == pytest.approx((predicted & truth)[:, 0].sum() / truth[:, 0].sum())
    assert found.labels[2].expected_recall is None


@pytest.mark.parametrize("method", ["per_label", "bagged", "shrunk", "micro", "micro_macro"])
def test_a_label_without_positives_takes_the_global_threshold_and_is_flagged(
    method: ThresholdMethod,
) -> None:
    found = tuned(method)
    assert found.labels[2].source == "fallback_few_positives"
    assert found.labels[2].threshold == found.global_threshold
    assert found.labels[0].source != "fallback_few_positives"
    assert found.labels[0].interval is not None


@pytest.mark.parametrize("method", ["bagged", "shrunk"])
def test_robust_methods_fall_back_under_five_positives(method: ThresholdMethod) -> None:
    truth, scores = case()
    truth[:, 1] = False
    truth[:4, 1] = True
    found = tune_thresholds(
        truth, scores, labels=LABELS, method=method, score_space="s", tuned_on="validation"
    )
    assert found.labels[1].source == "fallback_few_positives"


def test_without_documents_or_positives_every_threshold_is_one_half() -> None:
    empty = np.zeros((0, 3), np.bool_), np.zeros((0, 3), np.float32)
    bare = np.zeros((5, 3), np.bool_), np.full((5, 3), 0.9, np.float32)
    for truth, scores in (empty, bare):
        found = tune_thresholds(
            truth, scores, labels=LABELS, method="shrunk", score_space="s", tuned_on="validation"
        )
        assert found.values.tolist() == [0.5, 0.5, 0.5]
        assert {entry.source for entry in found.labels} == {"fallback_few_positives"}


def test_scores_that_are_not_numbers_are_refused_by_tuning_and_by_deciding() -> None:
    truth, scores = case()
    scores[3, 1] = np.nan
    with pytest.raises(IntegrityError, match="document 3 for label 1"):
        tune_thresholds(truth, scores, labels=LABELS, method="global", score_space="s", tuned_on="validation")
    with pytest.raises(IntegrityError):
        tuned("half").decide(scores)


def test_shapes_that_do_not_fit_are_refused() -> None:
    truth, scores = case()
    with pytest.raises(LabelSetMismatch):
        tune_thresholds(
            truth, scores[:, :2], labels=LABELS, method="half", score_space="s", tuned_on="validation"
        )
    with pytest.raises(LabelSetMismatch):
        tune_thresholds(truth, scores, labels=("one",), method="half", score_space="s", tuned_on="validation")


def test_thresholds_are_refused_for_other_labels_another_space_and_another_model() -> None:
    bound = tuned("global").bound_to("model")
    bound.require_match(labels=LABELS, score_space="sigmoid", model_digest="model")
    with pytest.raises(LabelSetMismatch):
        bound.require_match(labels=LABELS[:2], score_space="sigmoid", model_digest="model")
    with pytest.raises(IntegrityError, match="space"):
        bound.require_match(labels=LABELS, score_space="sigmoid-balanced", model_digest="model")
    with pytest.raises(IntegrityError, match="another model"):
        bound.require_match(labels=LABELS, score_space="sigmoid", model_digest="other")


def test_the_digest_follows_what_decides_and_not_the_provenance() -> None:
    one = tuned("global")
    moved = one.labels[0].model_copy(update={"threshold": 0.123})
    assert threshold_digest(one) == threshold_digest(one.model_copy(update={"documents": 7}))
    assert threshold_digest(one) != threshold_digest(
        one.model_copy(update={"labels": (moved, *one.labels[1:])})
    )


def test_cross_fitted_predictions_show_the_optimism_of_exact_thresholds_on_noise() -> None:
    # Given scores that say nothing about a rare label,
    random = np.random.default_rng(0)
    truth = random.random((300, 20)) < 0.02
    scores = random.random(truth.shape).astype(np.float32)
    # when thresholds are tuned on these very documents, or each on the others,
    found = tune_thresholds(
        truth, scores, labels=tuple(map(str, range(20))), method="per_label", score_space="s",
        tuned_on="validation",
    )  # fmt: skip
    honest = cross_fitted_predictions(truth, scores, method="per_label")
    # then the first looks like knowledge, and the second falls back towards chance, which is 0.04.
    assert _macro(truth, found.decide(scores)) > 0.12
    assert _macro(truth, honest) < 0.08


def test_cross_fitting_copes_with_fewer_documents_than_folds() -> None:
    for documents in (0, 1, 3):
        truth = np.ones((documents, 2), np.bool_)
        predicted = cross_fitted_predictions(truth, truth.astype(np.float32), method="micro_macro")
        assert predicted.shape == (documents, 2)


def _macro(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    hits, mass = (truth & predicted).sum(axis=0), truth.sum(axis=0) + predicted.sum(axis=0)
    return float(np.mean(2 * hits / np.maximum(mass, 1)))
