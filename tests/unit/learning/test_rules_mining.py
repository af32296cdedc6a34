"""Rules are mined as a slow count over sets of labels mines them, and never from documents left out."""

from typing import Any

import numpy as np
import pytest

from postq.learning.metrics.wilson import wilson_interval
from postq.learning.rules import mining
from postq.learning.rules.mining import TrainingLabels, mine_implications, together


def slow_rules(truth: Any, labels: tuple[str, ...]) -> dict[tuple[str, str], tuple[int, int]]:
    """(given, other) → (documents, together), by looking at one document's labels at a time."""
    sets = [{labels[at] for at in np.flatnonzero(row)} for row in truth]
    found = {}
    for given in labels:
        carrying = [one for one in sets if given in one]
        for other in labels:
            hits = sum(other in one for one in carrying)
            base = sum(other in one for one in sets) / max(len(sets), 1)
            bounds = wilson_interval(hits, len(carrying))
            if given != other and len(carrying) >= 30 and bounds and bounds[0] >= 0.85 and bounds[0] > base:
                found[given, other] = (len(carrying), hits)
    return found


def correlated(documents: int, labels: int, seed: int) -> Any:
    """Labels that copy one another more or less often."""
    random = np.random.default_rng(seed)
    truth = random.random((documents, labels)) < random.uniform(0.05, 0.5, labels)
    for at in range(1, labels):
        copied = random.random(documents) < random.choice([0.0, 0.9, 0.97, 1.0])
        truth[:, at] = np.where(copied, truth[:, at - 1], truth[:, at])
    return truth


@pytest.mark.parametrize("seed", range(6))
def test_the_rules_are_those_of_a_slow_count(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mining, "BLOCK", 37)
    truth = correlated(300, 12, seed)
    labels = tuple(f"label {at}" for at in range(12))
    rules = mine_implications(truth, labels)
    assert {(each.given, each.other): (each.documents, each.together) for each in rules} == slow_rules(
        truth, labels
    )
    assert rules, "the corpus is made so that there are some"
    sure = [each.interval[0] for each in rules]
    assert sure == sorted(sure, reverse=True)


def test_counts_are_exact_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = correlated(500, 9, 3)
    by_hand = truth.astype(np.int64).T @ truth.astype(np.int64)
    monkeypatch.setattr(mining, "BLOCK", 64)
    assert together(truth).tolist() == by_hand.tolist()


@pytest.mark.parametrize(("documents", "found"), [(29, 0), (30, 1)], ids=["29", "30"])
def test_a_rule_needs_thirty_documents(documents: int, found: int) -> None:
    truth = np.zeros((400, 2), np.bool_)
    truth[:documents, 0] = truth[: documents + 50, 1] = True
    assert len(mine_implications(truth, ("a", "b"))) == found


@pytest.mark.parametrize(("hits", "found"), [(91, 0), (92, 1)], ids=["lower-0.838", "lower-0.850"])
def test_the_lower_bound_decides_and_not_the_share(hits: int, found: int) -> None:
    truth = np.zeros((1000, 2), np.bool_)
    truth[:100, 0] = truth[:hits, 1] = True
    bounds = wilson_interval(hits, 100)
    assert bounds is not None
    assert (bounds[0] >= 0.85) is bool(found)
    assert len([each for each in mine_implications(truth, ("a", "b")) if each.given == "a"]) == found


def test_a_label_on_nearly_every_document_is_implied_by_none() -> None:
    truth = np.ones((500, 2), np.bool_)
    truth[60:, 0] = False
    assert mine_implications(truth, ("rare", "everywhere")) == ()


def test_held_out_training_documents_have_no_say() -> None:
    truth = correlated(400, 6, 5)
    labels = tuple("abcdef")
    rows = np.full(400, -1)
    rows[100:300] = np.random.default_rng(0).permutation(200)
    known = TrainingLabels(labels=labels, truth=truth, tuning_rows=rows)
    without = np.random.default_rng(1).random(200) < 0.5
    kept = [at for at in range(400) if rows[at] < 0 or not without[rows[at]]]
    assert 100 < len(kept) < 400
    assert known.rules("implications", without=without) == mine_implications(truth[kept], labels)
    assert known.rules("implications") == mine_implications(truth, labels)


def test_no_documents_give_no_rules() -> None:
    assert mine_implications(np.zeros((0, 3), np.bool_), ("a", "b", "c")) == ()
