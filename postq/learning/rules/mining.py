"""Implications between labels that training documents bear out: often enough, and surely enough.

A narrower label need not imply the broader one: annotators who use the most specific label only put both on
few documents. So no hierarchy is believed; what counts is how often labels were given together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postq.learning.metrics.wilson import wilson_interval
from postq.learning.rules.rule import Rule

FEWEST_DOCUMENTS = 30
"""Training documents that must carry the first label."""
LEAST_SURE = 0.85
"""Lower bound of the share of these that must carry the second label too."""
MOST_RULES = 200
"""Candidates kept, the surest first."""
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

    def __len__(self) -> int:
        """Training documents."""
        return len(self.truth)

    def implications(self, *, without: Bools | None = None) -> tuple[Rule, ...]:
        """Mined from all training documents, or from those outside `without`, a mask of tuning documents.

        What judges a rule on held-out documents must not have mined it there.
        """
        kept = np.ones(len(self.truth), np.bool_)
        if without is not None:
            known = self.tuning_rows >= 0
            kept[known] = ~without[self.tuning_rows[known]]
        return mine_implications(self.truth[kept], self.labels)


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
            found.append(
                Rule(
                    kind="implies",
                    given=labels[first],
                    other=labels[second],
                    documents=trials,
                    together=hits,
                    interval=bounds,
                )
            )
    return tuple(sorted(found, key=_surest)[:MOST_RULES])


def together(truth: Bools) -> Counts:
    """(labels, labels) documents that carry both; the diagonal holds those that carry one."""
    counts = np.zeros((truth.shape[1], truth.shape[1]), np.int64)
    for start in range(0, len(truth), BLOCK):
        block = truth[start : start + BLOCK].astype(np.float32)
        counts += (block.T @ block).astype(np.int64)
    return counts


def _surest(rule: Rule) -> tuple[float, int, str, str]:
    return -rule.interval[0], -rule.documents, rule.given, rule.other
