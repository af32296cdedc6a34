"""Documents are ranked by what makes their labels doubtful, and each says why."""

import numpy as np
import pytest

from postq.contracts.scoring import ScoreBatch
from postq.learning.review import EMPTY_WEIGHT, TIER_WEIGHTS, UNREAD_WEIGHT, Judge
from postq.learning.thresholds.decision import Decision
from postq.learning.tiers import Tier

JUDGE = Judge(
    labels=("safe", "doubtful", "never"),
    decision=Decision.at([0.5, 0.5, 2.0]),
    tiers=(Tier.AUTO, Tier.REVIEW, Tier.MANUAL),
)


def batch(*scores: tuple[float, float, float], seen: int = 100) -> ScoreBatch:
    return ScoreBatch(
        rows=np.arange(len(scores)),
        scores=np.array(scores, np.float32),
        tokens_total=np.full(len(scores), 100, np.int32),
        tokens_seen=np.full(len(scores), seen, np.int32),
    )


@pytest.mark.parametrize(
    ("scores", "need", "kinds"),
    [
        ((0.99, 0.01, 0.5), 0.0, []),
        ((0.5, 0.01, 0.5), 1.0, ["near_threshold"]),
        ((0.99, 0.99, 0.5), TIER_WEIGHTS[Tier.REVIEW], ["doubtful_label"]),
        ((0.01, 0.01, 0.99), EMPTY_WEIGHT, ["no_label"]),
    ],
)
def test_each_reason_counts_by_its_weight(
    scores: tuple[float, float, float], need: float, kinds: list[str]
) -> None:
    one = batch(scores)
    assert JUDGE.needs(one)[0] == pytest.approx(need)
    assert [reason.kind for reason in JUDGE.reasons(one, 0)] == kinds


def test_text_that_was_not_read_counts_by_its_share() -> None:
    half = batch((0.99, 0.01, 0.5), seen=50)
    assert JUDGE.needs(half)[0] == pytest.approx(UNREAD_WEIGHT / 2)
    assert JUDGE.reasons(half, 0)[0].sentence == "the model read 50 of 100 tokens"


def test_the_need_is_the_weights_of_the_reasons_told() -> None:
    random = np.random.default_rng(3)
    judge = Judge(
        labels=list("abcde"), decision=Decision.at(random.uniform(0.05, 0.9, 5)), tiers=[*Tier, Tier.REVIEW]
    )
    many = ScoreBatch(
        rows=np.arange(300),
        scores=random.beta(0.3, 0.6, (300, 5)).astype(np.float32),
        tokens_total=random.integers(1, 50, 300).astype(np.int32),
        tokens_seen=np.ones(300, np.int32),
    )
    told = [sum(reason.weight for reason in judge.reasons(many, at)) for at in range(300)]
    assert told == pytest.approx(judge.needs(many).tolist())
    for at in range(300):
        weights = [reason.weight for reason in judge.reasons(many, at)]
        assert weights == sorted(weights, reverse=True)


def test_margins_are_in_logits_so_that_small_thresholds_are_not_all_near() -> None:
    rare = Judge(labels=("rare",), decision=Decision.at([0.02]), tiers=(Tier.AUTO,))
    scores = np.array([[0.001], [0.019], [0.02]], np.float32)
    found = ScoreBatch(
        rows=np.arange(3), scores=scores, tokens_total=np.ones(3, np.int32), tokens_seen=np.ones(3, np.int32)
    )
    assert JUDGE.margins(batch((0.5, 0.5, 1.0)).scores)[0].tolist() == [0.0, 0.0, np.inf]
    near = [any(reason.kind == "near_threshold" for reason in rare.reasons(found, at)) for at in range(3)]
    assert near == [False, True, True]


def test_scores_of_zero_and_one_are_ranked_too() -> None:
    assert np.isfinite(JUDGE.needs(batch((0.0, 1.0, 1.0), (1.0, 0.0, 0.0)))).all()
