"""A rule between two labels with its evidence, and the rules a bundle decides by."""

from typing import Literal

from postq.contracts.recipes import RuleChoice
from postq.contracts.record import Record
from postq.learning.thresholds.decision import Decision

RuleKind = Literal["implies"]


class Rule(Record):
    """`given` brings `other` along, on the evidence of training documents."""

    kind: RuleKind
    given: str
    """The label that reaches its threshold."""
    other: str
    """The label that is then predicted too, whatever its own score."""
    documents: int
    """Training documents that carry `given`."""
    together: int
    """Of these, the ones that carry `other` too."""
    interval: tuple[float, float]
    """Wilson's 95 % interval of together / documents."""


class Change(Record):
    """A difference of F1 with its 95 % interval from the paired document bootstrap."""

    value: float
    low: float
    high: float


class Gain(Record):
    """Cross-fitted F1 with rules − without, on the tuning documents."""

    micro_f1: Change
    macro_f1: Change
    mean_f1: Change
    """Of (micro-F1 + macro-F1) / 2, by which it is decided whether rules are kept."""


class RuleSet(Record):
    """Rules that were worth keeping, with what speaks for them."""

    choice: RuleChoice
    """What was asked for."""
    mined_on: int
    """Training documents the rules were mined on."""
    documents: int
    """Tuning documents they were judged on."""
    gain: Gain
    rules: tuple[Rule, ...]

    @property
    def names(self) -> frozenset[str]:
        """Labels that rules speak of."""
        return frozenset(name for each in self.rules for name in (each.given, each.other))

    def over(self, plain: Decision, labels: tuple[str, ...]) -> Decision:
        """`plain` thresholds with these rules, as columns of `labels`."""
        return plain.model_copy(update={"implies": pairs(self.rules, labels)})


def pairs(rules: tuple[Rule, ...], labels: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """The rules as columns of the scores, sorted."""
    column = {name: at for at, name in enumerate(labels)}
    return tuple(sorted((column[each.given], column[each.other]) for each in rules))
