"""Rules over decisions equal a slow walk over each document's labels; without rules nothing changes."""

import hashlib
import json

import numpy as np
import pytest

from postq.contracts.rules import Change, Gain, Rule, RuleSet
from postq.errors import IntegrityError
from postq.learning.thresholds.decision import Decision
from postq.learning.thresholds.threshold_set import ThresholdSet, threshold_digest
from postq.learning.thresholds.tuning import tune_thresholds
from tests.unit.learning.planted import LABELS, planted


def slow_labels(decision: Decision, scores: list[float]) -> set[int]:
    reached = {at for at, score in enumerate(scores) if score >= decision.thresholds[at]}
    found = reached | {second for first, second in decision.implies if first in reached}
    return found - {general for specific, general in decision.outranks if specific in found}


@pytest.mark.parametrize("seed", range(5))
def test_rules_decide_as_a_slow_walk_over_labels(seed: int) -> None:
    random = np.random.default_rng(seed)
    pairs = [(int(a), int(b)) for a, b in random.integers(0, 8, (14, 2)) if a != b]
    decision = Decision(
        thresholds=tuple(random.uniform(0.2, 0.8, 8)), implies=tuple(pairs[:6]), outranks=tuple(pairs[6:])
    )
    scores = random.random((200, 8)).astype(np.float32)
    decided = decision.decide(scores)
    assert [set(np.flatnonzero(row)) for row in decided] == [
        slow_labels(decision, row.tolist()) for row in scores
    ]
    turned = Decision(
        thresholds=decision.thresholds, implies=decision.implies[::-1], outranks=decision.outranks[::-1]
    )
    assert np.array_equal(turned.decide(scores), decided)
    assert not np.array_equal(decided, Decision(thresholds=decision.thresholds).decide(scores))


def test_a_decision_survives_json() -> None:
    decision = Decision(thresholds=(0.1 + 0.2, 2.0), implies=((0, 1),))
    assert Decision.model_validate(json.loads(json.dumps(decision.model_dump(mode="json")))) == decision


def test_scores_that_are_no_numbers_are_refused_with_rules_too() -> None:
    with pytest.raises(IntegrityError, match="not a number"):
        Decision(thresholds=(0.5, 0.5), implies=((0, 1),)).decide(np.array([[np.nan, 0.1]]))


def tuned() -> ThresholdSet:
    truth, scores = planted(120)
    return tune_thresholds(
        truth, scores, labels=LABELS, method="micro_macro", score_space="test", tuned_on="validation"
    )


def with_rule(given: str, other: str) -> ThresholdSet:
    change = Change(value=0.1, low=0.05, high=0.15)
    rule = Rule(kind="implies", given=given, other=other, documents=40, together=39, interval=(0.87, 1.0))
    gain = Gain(micro_f1=change, macro_f1=change, mean_f1=change)
    rules = RuleSet(choice="implications", mined_on=100, documents=120, gain=gain, rules=(rule,))
    values = tuned().model_dump(mode="json") | {"rules": rules.model_dump(mode="json")}
    return ThresholdSet.model_validate(values)


def test_thresholds_without_rules_keep_the_digest_and_the_file_they_always_had() -> None:
    plain = tuned()
    facts = [plain.score_space, plain.names, [value.hex() for value in plain.values.tolist()]]
    assert threshold_digest(plain) == hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    assert "rules" not in plain.model_dump(mode="json")


def test_rules_change_the_digest_and_the_evidence_does_not() -> None:
    plain, ruled = tuned(), with_rule("strong", "weak")
    assert threshold_digest(ruled) != threshold_digest(plain)
    assert threshold_digest(ruled) != threshold_digest(with_rule("other", "weak"))
    assert ruled.rules is not None
    more = ruled.model_copy(update={"rules": ruled.rules.model_copy(update={"mined_on": 101})})
    assert threshold_digest(more) == threshold_digest(ruled)
    assert ruled.decision.implies == ((0, 1),)
    assert ruled.model_validate(json.loads(ruled.model_dump_json())) == ruled


def test_a_rule_about_an_unknown_label_is_refused() -> None:
    with pytest.raises(ValueError, match="'strange', which is no label"):
        with_rule("strange", "weak")
