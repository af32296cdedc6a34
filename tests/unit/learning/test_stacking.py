"""Stacking learns from honest scores only, keeps to the plain mean where it knows little, is a bundle."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize

from postq.errors import BadInput, BundleUnusable
from postq.learning.bundle import Bundle, fingerprint
from postq.learning.bundle.score_file import read_scores
from postq.learning.ensemble import stacking
from postq.learning.ensemble.combining import read_combination
from postq.learning.ensemble.making import make_ensemble
from postq.learning.ensemble.stacking import OFFSET_STRENGTH, fit_stack, fit_stacked, log_loss
from postq.learning.logits import logit, sigmoid
from postq.learning.metrics.ranking import mean_average_precision
from postq.learning.rejudging import read_metrics
from postq.learning.rethresholding import rethreshold_bundle
from tests.unit.learning.test_ensemble import DATA, scored, train

Bools = NDArray[np.bool_]


def members_scores(truth: Bools, *, noise: tuple[float, ...], seed: int = 0) -> list[NDArray[np.float32]]:
    """One member's scores per entry: the truth's logit of ±2 less one, with as much noise as asked for."""
    random = np.random.default_rng(seed)
    clean = np.where(truth, 1.0, -3.0)
    return [sigmoid(clean + each * random.normal(0, 1, truth.shape)).astype(np.float32) for each in noise]


def planted(documents: int, carried: tuple[int, ...]) -> Bools:
    truth = np.zeros((documents, len(carried)), np.bool_)
    for label, count in enumerate(carried):
        truth[:count, label] = True
    return truth


def test_the_fit_is_the_penalised_maximum_likelihood() -> None:
    truth = planted(200, (60, 9))
    scores = members_scores(truth, noise=(1.0, 2.0, 3.0))
    stack = fit_stack(truth, scores, strength=4.0)
    logits = np.stack([logit(each) for each in scores])
    centre = fit_stack(
        np.c_[truth, np.zeros(200, np.bool_)], [np.c_[s, s[:, 0]] for s in scores], strength=4.0
    )
    assert np.ptp([row[2] for row in centre.weights]) == 0  # a label nobody carries keeps the centre
    for label in range(2):
        middle = np.array([*[_centre_of(truth, logits)[0] / 3] * 3, _centre_of(truth, logits)[1]])
        features = np.vstack([logits[:, :, label], np.ones(200)])

        def loss(at: Any, features: Any = features, label: int = label, middle: Any = middle) -> float:
            signs = np.where(truth[:, label], 1, -1)
            fit = np.logaddexp(0, -signs * (at @ features)).sum()
            return float(fit + (np.array([4.0, 4.0, 4.0, OFFSET_STRENGTH]) * (at - middle) ** 2).sum() / 2)

        found = minimize(loss, middle, method="BFGS", options={"gtol": 1e-7}).x
        ours = [*(row[label] for row in stack.weights), stack.offsets[label]]
        assert (found[:3] > 0).all()
        np.testing.assert_allclose(ours, found, atol=1e-4)


def _centre_of(truth: Bools, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slope and offset of the mean of logits over all labels together, by a general optimiser."""
    mean, signs = logits.mean(axis=0), np.where(truth, 1, -1)

    def loss(at: Any) -> float:
        prior = (at[0] - 1) ** 2 + OFFSET_STRENGTH * at[1] ** 2
        return float(np.logaddexp(0, -signs * (at[0] * mean + at[1])).sum() + prior / 2)

    return np.asarray(minimize(loss, [1.0, 0.0], method="BFGS", options={"gtol": 1e-7}).x)


def test_weights_follow_the_better_member_the_more_the_more_positives_there_are() -> None:
    truth = planted(600, (200, 3, 0))
    stack = fit_stack(truth, members_scores(truth, noise=(0.8, 4.0)), strength=16.0)
    good, bad = np.array(stack.weights)
    shares = good / (good + bad)
    assert shares[0] > 0.8
    assert 0.5 <= shares[1] < shares[0]
    assert shares[2] == pytest.approx(0.5)


def test_labels_without_positives_are_ranked_as_by_the_plain_mean() -> None:
    truth = planted(300, (80, 0))
    scores = members_scores(truth, noise=(1.0, 2.0))
    found = fit_stack(truth, scores, strength=1.0).apply(scores)[:, 1]
    mean = (logit(scores[0]) + logit(scores[1]))[:, 1]
    rising = np.argsort(mean)
    assert (np.diff(found[rising]) >= 0).all()


def test_no_member_is_ever_turned_round() -> None:
    truth = planted(400, (150, 30))
    good, other = members_scores(truth, noise=(1.0, 1.0))
    stack = fit_stack(truth, [good, 1 - other], strength=1.0)
    weights = np.array(stack.weights)
    assert (weights >= 0).all()
    assert (weights[1] == 0).all()
    both_wrong = fit_stack(truth, [1 - good, 1 - other], strength=1.0)
    assert (np.array(both_wrong.weights).sum(axis=0) > 0).all()


def test_a_documents_own_labels_have_no_say_in_its_out_of_fold_scores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stacking, "STRENGTHS", (4.0,))
    truth = planted(300, (90, 12))
    scores = members_scores(truth, noise=(1.5, 2.0))
    fold = np.arange(300) % 5
    honest = fit_stacked(truth, scores, fold)
    turned = truth.copy()
    turned[np.flatnonzero(fold == 0)[:6]] ^= True
    again = fit_stacked(turned, scores, fold)
    assert (again.scores[fold == 0] == honest.scores[fold == 0]).all()
    assert (again.scores[fold == 1] != honest.scores[fold == 1]).any()


def test_the_strength_is_the_one_with_the_least_out_of_fold_loss() -> None:
    truth = planted(400, (120, 60))
    found = fit_stacked(truth, members_scores(truth, noise=(0.8, 5.0)), np.arange(400) % 4)
    assert found.log_loss[found.strength] == min(found.log_loss.values())
    assert log_loss(truth, found.scores) == pytest.approx(found.log_loss[found.strength])
    same = members_scores(truth, noise=(1.0,))[0]
    assert fit_stacked(truth, [same, same], np.arange(400) % 4).log_loss.keys() == found.log_loss.keys()


def test_a_stack_beats_the_plain_mean_where_one_member_knows_nothing() -> None:
    truth = planted(800, (200, 80, 40))
    scores = members_scores(truth, noise=(1.5, 8.0))
    mean = (logit(scores[0]) + logit(scores[1])) / 2
    found = fit_stacked(truth, scores, np.arange(800) % 5).scores
    assert (mean_average_precision(truth, found) or 0) > (mean_average_precision(truth, mean) or 0) + 0.05


@pytest.mark.parametrize("carried", [(0,), (20,), (20, 0, 7)])
def test_certain_scores_and_odd_label_counts_break_nothing(carried: tuple[int, ...]) -> None:
    truth = planted(20, carried)
    certain = truth.astype(np.float32)
    found = fit_stacked(truth, [certain, certain], np.arange(20) % 3)
    assert found.scores.shape == truth.shape
    assert np.isfinite(found.scores).all()


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    folder = tmp_path_factory.mktemp("three")
    return [
        train(folder, "one"),
        train(folder, "two", class_weight=None, min_df=4, ngram_max=1),
        train(folder, "few", min_df=12),
    ]


@pytest.fixture(scope="module")
def stacked(three: list[Bundle], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    output = tmp_path_factory.mktemp("stacked") / "stacked"
    return make_ensemble(three, name="stacked", output=output, method="stacking")


def test_thresholds_are_tuned_on_scores_of_stacks_that_never_saw_the_document(stacked: Bundle) -> None:
    parts = read_scores(stacked.path)
    tuning, validation = parts[("main", "tuning")], parts[("main", "validation")]
    rows = {each.document_id: each for each in (*DATA.train, *DATA.validation)}
    live = scored(stacked, rows.values())
    assert len(tuning.document_ids) == 130
    assert stacked.thresholds.documents == 130
    refitted = np.array([live[rows[name].row] for name in validation.document_ids])
    assert not np.allclose(refitted, validation.scores, atol=1e-6)
    at = {name: place for place, name in enumerate(tuning.document_ids)}
    for place, name in enumerate(validation.document_ids):
        assert (tuning.scores[at[name]] == validation.scores[place]).all()


def test_stored_test_scores_are_what_the_stack_scores(stacked: Bundle) -> None:
    test = read_scores(stacked.path)[("main", "test")]
    found = scored(stacked, DATA.test)
    rows = {each.document_id: each.row for each in DATA.test}
    live = np.array([found[rows[name]] for name in test.document_ids])
    np.testing.assert_allclose(live, test.scores, atol=1e-6)


def test_a_stack_is_a_bundle_like_any_other(stacked: Bundle, three: list[Bundle], tmp_path: Path) -> None:
    facts = read_metrics(stacked)["facts"]
    assert (facts["method"], list(facts["mean_weights"])) == ("stacking", ["one", "two", "few"])
    assert stacked.score_space == "ensemble-stacking"
    again = make_ensemble(three, name="stacked", output=tmp_path / "again", method="stacking")
    assert (again.digest, fingerprint(again)) == (stacked.digest, fingerprint(stacked))
    half = rethreshold_bundle(stacked, method="half", name="half", output=tmp_path / "half")
    assert sorted(scored(half, DATA.test[:3])) == sorted(each.row for each in DATA.test[:3])
    nested = make_ensemble([stacked, three[0]], name="nested", output=tmp_path / "nested", method="stacking")
    assert sorted(scored(nested, DATA.test[:3])) == sorted(each.row for each in DATA.test[:3])


def test_and_or_take_more_than_two_members_and_the_mean_does_not(three: list[Bundle], tmp_path: Path) -> None:
    made = make_ensemble(three, name="any", output=tmp_path / "any", method="or")
    decisions = []
    for bundle in (*three, made):
        found = scored(bundle, DATA.test)
        decisions.append(bundle.thresholds.decide(np.array([found[row] for row in sorted(found)])))
    assert (decisions[3] == (decisions[0] | decisions[1] | decisions[2])).all()
    with pytest.raises(BadInput, match="mean_logit takes two members"):
        make_ensemble(three, name="x", output=tmp_path / "x")
    with pytest.raises(BadInput, match="2 to 8 members, not 1"):
        make_ensemble(three[:1], name="x", output=tmp_path / "x", method="stacking")
    with pytest.raises(BadInput, match="same model"):
        make_ensemble([*three, three[1]], name="x", output=tmp_path / "x", method="stacking")


def test_a_stack_that_does_not_fit_its_members_is_refused(stacked: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleUnusable, match="needs for 2 members"):
        read_combination(stacked.path, labels=4, members=2)
    forged = tmp_path / "forged"
    forged.mkdir()
    shutil.copy(stacked.path / "ensemble.json", forged)
    held = json.loads((forged / "ensemble.json").read_text())
    for change in ({"stack": None}, {"method": "mean_logit"}, {"stack": {"weights": [], "offsets": []}}):
        (forged / "ensemble.json").write_text(json.dumps({**held, **change}))
        with pytest.raises(BundleUnusable):
            read_combination(forged, labels=4, members=3)
    (forged / "ensemble.json").write_text(json.dumps(held).replace("[[", "[[NaN, ", 1))
    with pytest.raises(BundleUnusable, match="unreadable"):
        read_combination(forged, labels=4, members=3)
