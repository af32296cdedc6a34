"""A rule between two labels with its evidence, and the rules a bundle decides by."""

from typing import Literal

from postq.contracts.recipes import RuleChoice
from postq.contracts.record import Record

RuleKind = Literal["implies", "outranks"]


class Rule(Record):
    """`given` brings `other` along, or takes it away, on the evidence of training documents."""

    kind: RuleKind
    given: str
    """The label that is predicted: of `implies` one that reaches its threshold, of `outranks` the specific
    one."""
    other: str
    """Of `implies` the label that is then predicted too, whatever its own score; of `outranks` the general
    one, which is then not predicted."""
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
