"""The review gate keeps the risk it was asked for, on average, and refuses what it cannot keep."""

from typing import Any

import numpy as np
import pytest

from postq.contracts.scoring import ScoreBatch
from postq.errors import BadInput
from postq.learning.logits import sigmoid
from postq.learning.review import RISK_WEIGHT, Judge
from postq.learning.risk import Gate, control_risk, nearest_margin
from postq.learning.thresholds.decision import Decision
from postq.learning.tiers import Tier

CUTS = np.array([0.5, 0.3, 2.0])
AT = Decision.at(CUTS)


def documents(count: int, *, seed: int, noise: float) -> tuple[Any, Any]:
    """Truth and scores of a model that errs near its thresholds."""
    random = np.random.default_rng(seed)
    truth = random.random((count, 3)) < np.array([0.3, 0.3, 0.0])
    logits = np.where(truth, 1.5, -2.0) + random.normal(0, noise, truth.shape)
    return truth, sigmoid(logits).astype(np.float32)


def passed_wrong(truth: Any, scores: Any, cut: float) -> Any:
    wrong = ((scores.astype(np.float64) >= CUTS) != truth).any(axis=1)
    return wrong & (nearest_margin(scores, CUTS) > cut)


@pytest.mark.parametrize("noise", [0.8, 2.0])
@pytest.mark.parametrize("risk", [0.02, 0.1])
def test_the_share_of_wrong_documents_that_pass_is_at_most_the_risk_on_average(
    noise: float, risk: float
) -> None:
    found = []
    for seed in range(60):
        gate = control_risk(*documents(200, seed=seed, noise=noise), AT, risk=risk)
        fresh = documents(500, seed=1000 + seed, noise=noise)
        found.append(passed_wrong(*fresh, gate.cut).mean())
    assert np.mean(found) <= risk + 2 * np.std(found) / np.sqrt(len(found))
    if noise == 2.0:
        assert np.mean(found) >= risk / 2  # kept, and not by looking at everything


def test_the_cut_is_the_smallest_that_keeps_the_risk() -> None:
    truth, scores = documents(150, seed=1, noise=1.5)
    nearest = np.unique(nearest_margin(scores, CUTS))
    for risk in (0.02, 0.05, 0.2, 0.9):
        gate = control_risk(truth, scores, AT, risk=risk)
        fine = [
            cut
            for cut in (-np.inf, *nearest.tolist())
            if (passed_wrong(truth, scores, cut).sum() + 1) / 151 <= risk
        ]
        assert gate.cut == min(fine)
    assert control_risk(truth, scores, AT, risk=0.9).review_share == 0


def test_what_few_documents_cannot_vouch_for_is_refused() -> None:
    truth, scores = documents(19, seed=2, noise=2.0)
    assert control_risk(truth, scores, AT, risk=1 / 20).review_share <= 1
    for risk in (0.04, 0.0, -1.0, 1.0, float("nan")):
        with pytest.raises(BadInput, match="19 documents"):
            control_risk(truth, scores, AT, risk=risk)


def test_where_no_label_can_be_predicted_only_the_risk_decides() -> None:
    truth = np.zeros((50, 3), np.bool_)
    scores = np.full((50, 3), 0.4, np.float32)
    never = np.full(3, 2.0)
    assert control_risk(truth, scores, Decision.at(never), risk=0.1).review_share == 0
    assert control_risk(~truth, scores, Decision.at(never), risk=0.1).review_share == 1


def test_the_queue_holds_the_documents_the_gate_stops_and_says_so() -> None:
    scores = np.array([[0.5, 0.01, 0.1], [0.99, 0.01, 0.1], [0.9, 0.05, 0.1]], np.float32)
    tokens = np.full(3, 10, np.int32)
    batch = ScoreBatch(rows=np.arange(3), scores=scores, tokens_total=tokens, tokens_seen=tokens)
    gate = Gate(risk=0.05, cut=2.5, documents=100, review_share=0.4, wrong_share=0.2)
    open_judge = Judge(labels=("a", "b", "c"), decision=AT, tiers=(Tier.AUTO,) * 3)
    judge = Judge(labels=("a", "b", "c"), decision=AT, tiers=(Tier.AUTO,) * 3, gate=gate)
    assert judge.needs(batch).tolist() == pytest.approx([1.0 + RISK_WEIGHT, 0.0, RISK_WEIGHT])
    assert open_judge.needs(batch).tolist() == pytest.approx([1.0, 0.0, 0.0])
    kinds = [reason.kind for reason in judge.reasons(batch, 2)]
    assert kinds == ["not_safe"]
    assert "risk of 0.05" in judge.reasons(batch, 2)[0].sentence
