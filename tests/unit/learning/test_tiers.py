"""Tiers are gated on what a precision surely reaches, not on what it happened to be."""

from typing import Any

import pytest

from postq.errors import BadInput, NotTrainable
from postq.learning.metrics.wilson import wilson_interval
from postq.learning.tiers import Tier, TierLevels, label_tiers, tier_of


def metrics(*rows: tuple[int, int], split: str = "test") -> dict[str, Any]:
    """Facts of labels given as (hits, predicted)."""
    facts = [
        {"label": f"label {at}", "hits": hits, "predicted": predicted, "support": hits + 1}
        for at, (hits, predicted) in enumerate(rows)
    ]
    return {split: {"by_label": facts}}


@pytest.mark.parametrize(
    ("hits", "predicted", "tier"),
    [
        (200, 200, Tier.AUTO),
        (50, 50, Tier.ASSISTED),  # never wrong, but 50 documents prove no 0.93
        (49, 50, Tier.ASSISTED),
        (9, 10, Tier.REVIEW),  # 0.90, but it may well be 0.60
        (3, 3, Tier.REVIEW),
        (1, 6, Tier.MANUAL),
        (0, 0, Tier.MANUAL),
    ],
)
def test_a_tier_follows_the_lower_bound(hits: int, predicted: int, tier: Tier) -> None:
    assert label_tiers(metrics((hits, predicted)))[0].tier is tier


def test_bounds_exactly_at_a_level_reach_it() -> None:
    levels = TierLevels(assisted=0.5, auto=0.9)
    assert tier_of((0.9, 1.0), levels) is Tier.AUTO
    assert tier_of((0.5, 0.9), levels) is Tier.ASSISTED
    assert tier_of((0.1, 0.5), levels) is Tier.REVIEW
    assert tier_of((0.1, 0.49), levels) is Tier.MANUAL


def test_more_of_the_same_evidence_never_lowers_a_tier() -> None:
    order = [Tier.MANUAL, Tier.REVIEW, Tier.ASSISTED, Tier.AUTO]
    for share in (0.8, 0.96, 1.0):
        found = label_tiers(metrics(*((round(share * n), n) for n in (25, 100, 400, 1600))))
        ranks = [order.index(each.tier) for each in found]
        assert ranks == sorted(ranks)


def test_the_evidence_is_told() -> None:
    found = label_tiers(metrics((9, 10)))[0]
    bounds = wilson_interval(9, 10)
    assert bounds is not None
    assert (found.precision, found.lower, found.upper) == (0.9, *bounds)
    assert (found.predicted, found.hits, found.support, found.split) == (10, 9, 10, "test")


def test_validation_stands_in_where_there_is_no_test() -> None:
    facts = metrics((9, 10), split="validation")
    assert label_tiers({**facts, "test": None})[0].split == "validation"
    with pytest.raises(NotTrainable, match="judged on no documents"):
        label_tiers({"test": None, "validation": None})


@pytest.mark.parametrize("levels", [(0.9, 0.2), (0.0, 0.5), (0.5, 1.5), (0.5, 0.5), (float("nan"), 0.9)])
def test_levels_that_are_none_are_refused(levels: tuple[float, float]) -> None:
    with pytest.raises(BadInput, match="not two levels"):
        TierLevels(assisted=levels[0], auto=levels[1])
