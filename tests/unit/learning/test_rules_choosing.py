"""Rules are kept where they surely help documents that had no say, and only there."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from postq.contracts.rules import Rule
from postq.learning.metrics.counts import summary
from postq.learning.rules.choosing import JudgedRules, Proposed, choose_rules, judge_rules, measured_gain
from postq.learning.rules.mining import mine_implications
from postq.learning.thresholds.cross_fit import cross_fits
from postq.learning.thresholds.decision import Decision, apply_thresholds
from postq.learning.thresholds.tuning import tune_thresholds
from tests.unit.learning.planted import LABELS, of_training, planted


def judged(truth: Any, scores: Any, *, seed: int = 42) -> JudgedRules:
    thresholds = tune_thresholds(
        truth, scores, labels=LABELS, method="micro_macro", score_space="test", tuned_on="out_of_fold"
    )
    known = of_training(truth)
    return judge_rules(
        truth,
        scores,
        thresholds.values,
        labels=LABELS,
        method="micro_macro",
        proposed=Proposed(
            choice="implications",
            propose=lambda without: known.rules("implications", without=without),
            mined_on=len(truth),
        ),
        seed=seed,
    )


def test_a_planted_rule_is_found_chosen_and_kept() -> None:
    found = judged(*planted(600))
    assert [(each.given, each.other) for each in found.chosen] == [("strong", "weak")]
    assert found.kept is not None
    assert found.kept.rules == found.chosen
    assert min(found.gain.micro_f1.low, found.gain.macro_f1.low) > 0


def test_a_rule_that_holds_too_seldom_is_not_even_tried() -> None:
    found = judged(*planted(600, kept=0.8))
    assert found.candidates == ()
    assert found.kept is None
    assert found.gain.mean_f1.value == found.gain.mean_f1.high == 0


def test_a_true_rule_that_adds_nothing_is_not_kept() -> None:
    truth, scores = planted(600)
    scores[:, 1] = np.where(truth[:, 1], 0.9, 0.1)
    found = judged(truth, scores)
    assert [(each.given, each.other) for each in found.candidates] == [("strong", "weak")]
    assert found.kept is None
    assert not any(each["chosen"] for each in found.facts()["candidates"])


def test_the_cross_fitted_predictions_are_those_of_a_procedure_that_never_saw_them() -> None:
    truth, scores = planted(300, seed=4)
    found = judged(truth, scores, seed=7)
    by_hand = np.zeros(truth.shape, np.bool_)
    for fit in cross_fits(truth, scores, method="micro_macro", seed=7):
        others = np.flatnonzero(~fit.held_out)
        candidates = mine_implications(truth[others], LABELS)
        reached = apply_thresholds(scores, fit.thresholds)
        chosen = choose_rules(truth[others], reached[others], candidates, LABELS)
        decision = Decision.at(fit.thresholds).with_rules(chosen, LABELS)
        for row in np.flatnonzero(fit.held_out):
            by_hand[row] = decision.decide(scores[[row]])[0]
    assert found.kept is not None
    assert np.array_equal(found.predicted, by_hand)
    plain = np.zeros(truth.shape, np.bool_)
    for fit in cross_fits(truth, scores, method="micro_macro", seed=7):
        plain[fit.held_out] = apply_thresholds(scores[fit.held_out], fit.thresholds)
    assert found.gain == measured_gain(truth, plain, by_hand, seed=7)


def some_rules(random: np.random.Generator, labels: tuple[str, ...]) -> list[Rule]:
    found = [(int(a), int(b)) for a, b in random.integers(0, len(labels), (20, 2)) if a != b]
    return [
        Rule(kind="implies", given=labels[a], other=labels[b], documents=30, together=30, interval=(0.9, 1))
        for a, b in dict.fromkeys(found)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_each_rule_taken_raises_the_figure_and_each_left_out_would_not_have(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = tuple("abcdef")
    truth = random.random((150, 6)) < 0.3
    truth[:, 1] |= truth[:, 0]
    reached = random.random((150, 6)) < np.where(truth, 0.6, 0.1)
    candidates = some_rules(random, labels)

    def figure(rules: list[Rule]) -> float:
        decision = Decision.at([0.5] * len(labels)).with_rules(rules, labels)
        found = summary(truth, decision.ruled(reached))
        return float(found["micro_f1"] + found["macro_f1"])

    taken: list[Rule] = []
    values = [figure(taken)]
    for rule in candidates:
        if figure([*taken, rule]) > values[-1] + 1e-9:
            taken.append(rule)
            values.append(figure(taken))
    assert choose_rules(truth, reached, candidates, labels) == tuple(taken)
    assert all(after > before for before, after in pairwise(values))
