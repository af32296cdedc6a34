"""Automation tiers: which labels may be trusted alone, judged by the lower bound of their precision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from postq.errors import BadInput, NotTrainable
from postq.learning.metrics.wilson import wilson_interval


class Tier(StrEnum):
    """What a predicted label may be used for without more."""

    AUTO = "auto"  # even the lower bound reaches the upper level: take it as it is
    ASSISTED = "assisted"  # the lower bound reaches the lower level: a suggestion to confirm
    REVIEW = "review"  # the evidence does not settle it: a person decides with the score beside
    MANUAL = "manual"  # never predicted, or even the upper bound is too low: a person labels


@dataclass(frozen=True, slots=True, kw_only=True)
class TierLevels:
    """Agreement a label must reach with certainty; by default that of two people (kappa 0.63 to 0.93)."""

    assisted: float = 0.63
    auto: float = 0.93

    def __post_init__(self) -> None:
        if not 0 < self.assisted < self.auto <= 1:
            raise BadInput(
                f"{self.assisted:g} and {self.auto:g} are not two levels.",
                hint="Give a lower and a higher level between 0 and 1, such as 0.63,0.93.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelTier:
    """One label's tier and the evidence for it."""

    label: str
    tier: Tier
    split: str
    """Whose documents are the evidence: `test`, or `validation` where the bundle has no test figures."""
    predicted: int
    """Documents there with the label at or over its default threshold."""
    hits: int
    """Of these, the ones that truly carry it."""
    support: int
    """Documents there that truly carry it."""
    precision: float | None
    """hits / predicted; None where nothing is predicted."""
    lower: float | None
    """Lower end of Wilson's 95 % interval of the precision."""
    upper: float | None


def label_tiers(metrics: Mapping[str, Any], *, levels: TierLevels | None = None) -> tuple[LabelTier, ...]:
    """The tier of every label, in the bundle's order, from the facts in its metrics.json.

    The gate is the lower bound, not the precision itself: nine right of ten is 0.90, but may well be 0.60.
    Raises NotTrainable when the bundle was judged on no documents.
    """
    split = next((name for name in ("test", "validation") if metrics.get(name)), None)
    if split is None:
        raise NotTrainable(
            "The bundle was judged on no documents, so that nothing is known of its labels.",
            hint="Train on a corpus with a validation or a test split.",
        )
    rows: Sequence[Mapping[str, Any]] = metrics[split]["by_label"]
    return tuple(_label_tier(row, split, levels or TierLevels()) for row in rows)


def _label_tier(row: Mapping[str, Any], split: str, levels: TierLevels) -> LabelTier:
    hits, predicted = int(row["hits"]), int(row["predicted"])
    bounds = wilson_interval(hits, predicted)
    return LabelTier(
        label=row["label"],
        tier=tier_of(bounds, levels),
        split=split,
        predicted=predicted,
        hits=hits,
        support=int(row["support"]),
        precision=hits / predicted if predicted else None,
        lower=bounds[0] if bounds else None,
        upper=bounds[1] if bounds else None,
    )


def tier_of(bounds: tuple[float, float] | None, levels: TierLevels) -> Tier:
    """The tier of a precision known to lie in `bounds`; None when there is no evidence."""
    if bounds is None or bounds[1] < levels.assisted:
        return Tier.MANUAL
    if bounds[0] >= levels.auto:
        return Tier.AUTO
    return Tier.ASSISTED if bounds[0] >= levels.assisted else Tier.REVIEW
