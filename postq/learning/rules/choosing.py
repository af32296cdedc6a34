"""Whether rules help: chosen on tuning documents, judged cross-fitted, kept only where the gain is sure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from postq.contracts.recipes import RuleChoice, ThresholdMethod
from postq.contracts.rules import Change, Gain, Rule, RuleSet
from postq.learning.bootstrap import F1Samples, difference, f1_samples
from postq.learning.metrics.counts import count
from postq.learning.thresholds.cross_fit import cross_fits
from postq.learning.thresholds.decision import Decision, apply_thresholds
from postq.learning.thresholds.threshold_set import NEVER

LEAST_GAIN = 0.001
"""Mean of micro- and macro-F1 that rules must gain, sure as it may be: less is not worth being explained."""
LEAST_STEP = 1e-9
"""A rule that gains less on the documents it is chosen on gains nothing."""

Bools = NDArray[np.bool_]
Propose = Callable[[Bools | None], Sequence[Rule]]
"""Candidates mined without the tuning documents of a mask, or with all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """Which rules may be tried, and from how many documents they come."""

    choice: RuleChoice
    propose: Propose
    mined_on: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedRules:
    """What was proposed, what of it was chosen, what that gains, and whether it is kept."""

    choice: RuleChoice
    mined_on: int
    documents: int
    candidates: tuple[Rule, ...]
    chosen: tuple[Rule, ...]
    """On all tuning documents."""
    gain: Gain
    predicted: Bools
    """(docs, labels) cross-fitted, with the rules where they are kept."""

    @property
    def kept(self) -> RuleSet | None:
        """The rules, when they help."""
        if not self.chosen or not helps(self.gain):
            return None
        return RuleSet(
            choice=self.choice,
            mined_on=self.mined_on,
            documents=self.documents,
            gain=self.gain,
            rules=self.chosen,
        )

    def facts(self) -> dict[str, Any]:
        """For metrics.json: all candidates, which were chosen, the gain, and whether they are kept."""
        chosen = set(self.chosen)
        return {
            "choice": self.choice,
            "kept": self.kept is not None,
            "mined_on": self.mined_on,
            "documents": self.documents,
            "gain": self.gain.model_dump(mode="json"),
            "candidates": [
                {**each.model_dump(mode="json"), "chosen": each in chosen} for each in self.candidates
            ],
        }


def judge_rules(
    truth: Bools,
    scores: NDArray[np.floating],
    thresholds: NDArray[np.float64],
    *,
    labels: tuple[str, ...],
    method: ThresholdMethod,
    proposed: Proposed,
    seed: int,
) -> JudgedRules:
    """Rules on top of (labels,) `thresholds`, which `method` tuned on these (docs, labels) truth and scores.

    For the honest figure everything is done anew without each fifth of the documents: thresholds tuned, rules
    mined and chosen; the fifth is then decided with and without them.
    """
    plain, ruled = np.zeros(truth.shape, np.bool_), np.zeros(truth.shape, np.bool_)
    for fit in cross_fits(truth, scores, method=method, seed=seed):
        others = ~fit.held_out
        reached = apply_thresholds(scores, fit.thresholds)
        found = choose_rules(truth[others], reached[others], proposed.propose(fit.held_out), labels)
        plain[fit.held_out] = reached[fit.held_out]
        ruled[fit.held_out] = rule_over(found, labels).ruled(reached[fit.held_out])
    candidates = tuple(proposed.propose(None))
    chosen = choose_rules(truth, apply_thresholds(scores, thresholds), candidates, labels)
    gain = measured_gain(truth, plain, ruled, seed=seed)
    kept = bool(chosen) and helps(gain)
    return JudgedRules(
        choice=proposed.choice,
        mined_on=proposed.mined_on,
        documents=len(truth),
        candidates=candidates,
        chosen=chosen,
        gain=gain,
        predicted=ruled if kept else plain,
    )


def helps(gain: Gain) -> bool:
    """Whether the mean gain is surely one, and not too small to matter."""
    return gain.mean_f1.low > 0 and gain.mean_f1.value >= LEAST_GAIN


def rule_over(rules: tuple[Rule, ...], labels: tuple[str, ...]) -> Decision:
    """The rules alone; thresholds that nothing reaches."""
    return Decision(thresholds=(NEVER,) * len(labels)).with_rules(rules, labels)


def choose_rules(
    truth: Bools, reached: Bools, candidates: Iterable[Rule], labels: tuple[str, ...]
) -> tuple[Rule, ...]:
    """The candidates that raise micro-F1 + macro-F1 of (docs, labels) `reached`, taken one after the other.

    Each is judged on top of those taken before it: implications first, then what outranks, as they decide.
    """
    column = {name: at for at, name in enumerate(labels)}
    standing = _Standing(truth, reached)
    chosen: list[Rule] = []
    listed = list(candidates)
    for rule in (each for each in listed if each.kind == "implies"):
        first, second = column[rule.given], column[rule.other]
        if standing.better(second, standing.predicted[:, second] | reached[:, first]):
            chosen.append(rule)
    brought = standing.predicted.copy()
    for rule in (each for each in listed if each.kind == "outranks"):
        first, second = column[rule.given], column[rule.other]
        if standing.better(second, standing.predicted[:, second] & ~brought[:, first]):
            chosen.append(rule)
    return tuple(chosen)


class _Standing:
    """Predictions so far, and what their F1 would be with another column."""

    def __init__(self, truth: Bools, predicted: Bools) -> None:
        self.predicted = predicted.copy()
        self._truth = truth
        found = count(truth, predicted)
        self._hits, self._given, self._support = found.hits, found.predicted, found.support
        self._best = self._value()

    def better(self, at: int, column: Bools) -> bool:
        """Take the (docs,) column in when it raises the figure."""
        before = self._hits[at], self._given[at]
        self._hits[at], self._given[at] = (column & self._truth[:, at]).sum(), column.sum()
        value = self._value()
        if value <= self._best + LEAST_STEP:
            self._hits[at], self._given[at] = before
            return False
        self._best = value
        self.predicted[:, at] = column
        return True

    def _value(self) -> float:
        mass = self._given + self._support
        by_label = np.divide(2 * self._hits, mass, out=np.zeros_like(mass), where=mass > 0)
        return float(2 * self._hits.sum() / max(mass.sum(), 1.0) + by_label.mean())


def measured_gain(truth: Bools, plain: Bools, ruled: Bools, *, seed: int) -> Gain:
    """F1 of `ruled` − `plain` predictions, with 95 % intervals over the same draws of documents."""
    one, other = f1_samples(truth, ruled, seed=seed), f1_samples(truth, plain, seed=seed)
    return Gain(
        micro_f1=_change(one.micro, other.micro),
        macro_f1=_change(one.macro, other.macro),
        mean_f1=_change(_mean(one), _mean(other)),
    )


def _mean(samples: F1Samples) -> NDArray[np.float64]:
    return (samples.micro + samples.macro) / 2


def _change(one: NDArray[np.float64], other: NDArray[np.float64]) -> Change:
    found = difference(one, other)
    return Change(value=found.value, low=found.low, high=found.high)
