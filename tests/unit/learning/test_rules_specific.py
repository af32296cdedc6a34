"""The most specific label wins where training documents bear it out and the tuning documents gain by it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from postq.contracts.facets import Facets
from postq.contracts.recipes import TfidfRecipe, missing_for_rules
from postq.errors import NotTrainable
from postq.learning.facets import facet_facts, facets_sentence
from postq.learning.logits import sigmoid
from postq.learning.metrics.wilson import wilson_interval
from postq.learning.rules.choosing import JudgedRules, Proposed, judge_rules
from postq.learning.rules.mining import TrainingLabels, broader_columns, mine_outranking
from postq.learning.thresholds.decision import Decision
from postq.learning.thresholds.tuning import tune_thresholds

LABELS = ("general", "special", "rare", "other")
FACETS = Facets.model_validate(
    {
        "labels": [
            {"label": "general", "facets": ["motion"]},
            {"label": "middle", "parents": ["general"]},
            {"label": "special", "parents": ["general"]},
            {"label": "rare", "parents": ["middle"]},
        ]
    }
)


def documents(count: int, *, seed: int = 0, both: float = 0.05) -> tuple[Any, Any]:
    """Truth and scores of a model that takes every `special` document for a `general` one too."""
    random = np.random.default_rng(seed)
    special = random.random(count) < 0.3
    general = np.where(special, random.random(count) < both, random.random(count) < 0.3)
    rare = ~special & (random.random(count) < 0.05)
    truth = np.stack([general, special, rare, random.random(count) < 0.2], axis=1)
    logits = np.where(truth, 2.0, -2.0) + random.normal(0, 0.8, truth.shape)
    logits[:, 0] = np.where(general | special, 2.0, -2.0) + random.normal(0, 0.8, count)
    return truth, sigmoid(logits).astype(np.float32)


def judged(truth: Any, scores: Any, choice: Any = "most_specific") -> JudgedRules:
    thresholds = tune_thresholds(
        truth, scores, labels=LABELS, method="micro_macro", score_space="test", tuned_on="out_of_fold"
    )
    known = TrainingLabels(
        labels=LABELS,
        truth=truth,
        tuning_rows=np.arange(len(truth)),
        broader=broader_columns(FACETS, LABELS),
    )
    return judge_rules(
        truth,
        scores,
        thresholds.values,
        labels=LABELS,
        method="micro_macro",
        proposed=Proposed(
            choice=choice,
            propose=lambda without: known.rules(choice, without=without),
            mined_on=len(truth),
        ),
        seed=42,
    )


def test_a_label_that_stands_for_the_broader_one_outranks_it() -> None:
    found = judged(*documents(600))
    assert ("special", "general") in [(each.given, each.other) for each in found.chosen]
    assert found.kept is not None
    assert found.gain.mean_f1.low > 0.02
    _, scores = documents(600)
    decision = Decision.at([0.5] * 4).with_rules(found.kept.rules, LABELS)
    decided = decision.decide(scores)
    assert not (decided[:, 0] & decided[:, 1]).any()
    assert (decided[:, 1] == (scores[:, 1] >= 0.5)).all()


def test_where_both_are_given_together_nothing_outranks() -> None:
    found = judged(*documents(600, both=0.9))
    assert "special" not in [each.given for each in found.candidates]
    assert found.kept is None


@pytest.mark.parametrize("seed", range(4))
def test_candidates_are_those_of_a_slow_count(seed: int) -> None:
    truth, _ = documents(80, seed=seed, both=0.4)
    broader = broader_columns(FACETS, LABELS)
    assert set(broader) == {(1, 0), (2, 0)}, (
        "`rare` is narrower than `general` through a label that is not learned"
    )
    slow = set()
    for narrow, broad in broader:
        carrying = [row for row in truth.tolist() if row[narrow]]
        bounds = wilson_interval(sum(row[broad] for row in carrying), len(carrying))
        if bounds and bounds[1] <= 0.5:
            slow.add((LABELS[narrow], LABELS[broad]))
    assert {(each.given, each.other) for each in mine_outranking(truth, LABELS, broader)} == slow


def test_both_kinds_are_tried_together_and_implications_come_first() -> None:
    truth, scores = documents(600)
    truth[:, 3] = truth[:, 0]
    scores[:, 3] = np.random.default_rng(1).random(len(scores))
    found = judged(truth, scores, "both")
    kinds = [each.kind for each in found.candidates]
    assert kinds == sorted(kinds)
    assert {each.kind for each in found.chosen} == {"implies", "outranks"}


def test_what_is_missing_for_the_most_specific_is_said() -> None:
    flat = Facets.model_validate({"labels": [{"label": "a"}]})
    assert missing_for_rules("implications", None) == ""
    assert missing_for_rules("both", FACETS) == ""
    assert "broader than which" in missing_for_rules("most_specific", None)
    assert "name none" in missing_for_rules("both", flat)


def test_facets_of_other_labels_are_refused_and_unknown_ones_counted() -> None:
    with pytest.raises(NotTrainable, match="None of the 4 labels"):
        facet_facts(FACETS, ("something", "else"))
    facts = facet_facts(FACETS, LABELS)
    assert (facts["labels"], facts["unknown"], facts["without"]) == (3, 1, 1)
    assert facts["unknown_labels"] == ["middle"]
    assert facets_sentence(facts) == (
        "Of the learned labels 3 have facets and 1 have none; not learned, but in the file: 'middle'."
    )


def test_a_recipe_without_facets_does_not_speak_of_them_and_with_them_keeps_all(tmp_path: Path) -> None:
    assert {"facets", "rules"}.isdisjoint(TfidfRecipe().model_dump(mode="json"))
    recipe = TfidfRecipe(facets=FACETS, rules="both")
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    assert TfidfRecipe.model_validate_json((tmp_path / "recipe.json").read_text()) == recipe
