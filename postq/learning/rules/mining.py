"""Rules between labels that training documents bear out: often enough, and surely enough.

A narrower label need not imply the broader one: annotators who use the most specific label only put both
on few documents. So no hierarchy is believed; what counts is how often labels were given together. Where a
user names broader labels, the same counts say whether the narrower one stands for them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postq.contracts.facets import Facets
from postq.contracts.recipes import RuleChoice
from postq.contracts.rules import Rule, RuleKind
from postq.learning.metrics.wilson import wilson_interval
from postq.learning.thresholds.decision import Pair

FEWEST_DOCUMENTS = 30
"""Training documents that must carry the first label."""
LEAST_SURE = 0.85
"""Lower bound of the share of these that must carry the second label too."""
MOST_TOGETHER = 0.5
"""Upper bound of the share of a narrower label's documents with the broader one, for it to outrank that."""
MOST_RULES = 200
"""Candidates of each kind kept, the surest first."""
BLOCK = 4096
"""Documents counted at once."""

Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLabels:
    """The labels of the training documents, and which tuning document each of these is."""

    labels: tuple[str, ...]
    truth: Bools
    """(docs, labels)"""
    tuning_rows: NDArray[np.int64]
    """(docs,) row among the tuning documents; -1 for one that is none of them."""
    broader: tuple[Pair, ...] = ()
    """(narrower, broader) columns, however far apart in the hierarchy."""

    def __len__(self) -> int:
        """Training documents."""
        return len(self.truth)

    def rules(self, choice: RuleChoice, *, without: Bools | None = None) -> tuple[Rule, ...]:
        """Mined from all training documents, or from those outside `without`, a mask of tuning documents.

        Implications come first, since they decide first. What judges a rule on held-out documents must not
        have mined it there.
        """
        kept = np.ones(len(self.truth), np.bool_)
        if without is not None:
            known = self.tuning_rows >= 0
            kept[known] = ~without[self.tuning_rows[known]]
        truth = self.truth[kept]
        found: tuple[Rule, ...] = ()
        if choice in ("implications", "both"):
            found = mine_implications(truth, self.labels)
        if choice in ("most_specific", "both"):
            found += mine_outranking(truth, self.labels, self.broader)
        return found


def mine_implications(truth: Bools, labels: tuple[str, ...]) -> tuple[Rule, ...]:
    """Rules A ⇒ B that hold on (docs, labels) `truth`, the surest first, at most MOST_RULES.

    At least FEWEST_DOCUMENTS carry A; Wilson's 95 % lower bound of the share of these that carry B reaches
    LEAST_SURE, and lies over the share of all documents that carry B: where nearly all do, A says nothing.
    """
    counts = together(truth)
    carried = counts.diagonal()
    shares = counts / np.maximum(carried, 1)[:, None]
    frequent = (carried >= FEWEST_DOCUMENTS)[:, None] & (shares >= LEAST_SURE)
    found = []
    for first, second in np.argwhere(frequent & ~np.eye(len(labels), dtype=np.bool_)).tolist():
        hits, trials = int(counts[first, second]), int(carried[first])
        bounds = wilson_interval(hits, trials)
        assert bounds is not None
        if bounds[0] >= LEAST_SURE and bounds[0] > carried[second] / len(truth):
            found.append(_rule("implies", labels[first], labels[second], trials, hits, bounds))
    return tuple(sorted(found, key=_surest)[:MOST_RULES])


def mine_outranking(truth: Bools, labels: tuple[str, ...], broader: Iterable[Pair]) -> tuple[Rule, ...]:
    """Which narrower labels of `broader`, (narrower, broader) columns, stand alone on (docs, labels) `truth`.

    A narrower label outranks the broader one where Wilson's 95 % upper bound of the share of its documents
    that carry both is at most MOST_TOGETHER. The rarest company first, at most MOST_RULES.
    """
    found = []
    for narrow, broad in broader:
        trials, hits = int(truth[:, narrow].sum()), int((truth[:, narrow] & truth[:, broad]).sum())
        bounds = wilson_interval(hits, trials)
        if bounds is not None and bounds[1] <= MOST_TOGETHER:
            found.append(_rule("outranks", labels[narrow], labels[broad], trials, hits, bounds))
    return tuple(sorted(found, key=lambda rule: (rule.interval[1], rule.given, rule.other))[:MOST_RULES])


def broader_columns(facets: Facets, labels: tuple[str, ...]) -> tuple[Pair, ...]:
    """(narrower, broader) columns of `labels`, through labels that are not among them too."""
    column = {name: at for at, name in enumerate(labels)}
    return tuple(
        (column[label], column[above])
        for label, ancestors in facets.ancestors().items()
        for above in sorted(ancestors)
        if label in column and above in column
    )


def _rule(
    kind: RuleKind, given: str, other: str, documents: int, together: int, interval: tuple[float, float]
) -> Rule:
    return Rule(
        kind=kind, given=given, other=other, documents=documents, together=together, interval=interval
    )


def together(truth: Bools) -> Counts:
    """(labels, labels) documents that carry both; the diagonal holds those that carry one."""
    counts = np.zeros((truth.shape[1], truth.shape[1]), np.int64)
    for start in range(0, len(truth), BLOCK):
        block = truth[start : start + BLOCK].astype(np.float32)
        counts += (block.T @ block).astype(np.int64)
    return counts


def _surest(rule: Rule) -> tuple[float, int, str, str]:
    return -rule.interval[0], -rule.documents, rule.given, rule.other
