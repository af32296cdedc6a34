"""Which documents most need a person: near thresholds, doubtful labels, none at all, or text not read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postq.contracts.scoring import ScoreBatch
from postq.learning.logits import logit
from postq.learning.risk import Gate
from postq.learning.thresholds.decision import Decision
from postq.learning.tiers import Tier

NEAR = 1.0
"""Logits from a threshold below which a decision counts as uncertain: 0.5 against 0.73, or 0.05 and 0.125."""
EMPTY_WEIGHT = 0.75
TIER_WEIGHTS = {Tier.MANUAL: 1.0, Tier.REVIEW: 0.6}
UNREAD_WEIGHT = 0.5
"""Of a document of which nothing was read; a half-read one gets half of it."""
RISK_WEIGHT = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One thing that speaks for a person's look."""

    kind: str
    """`near_threshold`, `doubtful_label`, `no_label`, `not_all_read` or `not_safe`."""
    weight: float
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """What is known of a bundle's labels, column by column."""

    labels: Sequence[str]
    decision: Decision
    tiers: Sequence[Tier]
    gate: Gate | None = None
    """Where given, documents that it lets pass have no need."""

    def needs(self, batch: ScoreBatch) -> NDArray[np.float64]:
        """(docs,) the weights of each document's reasons together; 0 where there are none."""
        weight = self._near(batch.scores) + self._doubtful(batch.scores) + self._unread(batch)
        weight = weight + EMPTY_WEIGHT * ~self.predicted(batch.scores).any(axis=1)
        if self.gate is None:
            return np.asarray(weight)
        stopped = self.margins(batch.scores).min(axis=1) <= self.gate.cut
        return np.where(stopped, weight + RISK_WEIGHT, 0.0)

    def reasons(self, batch: ScoreBatch, at: int) -> tuple[Reason, ...]:
        """Why document `at` of the batch needs a person, weightiest first."""
        found = [*self._say_near(batch, at), *self._say_doubtful(batch, at), *self._say_rest(batch, at)]
        if self.gate is not None:
            cut, risk = self.gate.cut, self.gate.risk
            text = f"all within {cut:.2g} logits of a threshold are looked at, for a risk of {risk:g}"
            found.append(Reason(kind="not_safe", weight=RISK_WEIGHT, sentence=text))
        return tuple(sorted(found, key=lambda reason: -reason.weight))

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """(labels,)"""
        return self.decision.values

    def predicted(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(docs, labels) labels decided for each document."""
        return self.decision.decide(scores)

    def margins(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """(docs, labels) distance to the threshold in logits; infinite for labels never predicted."""
        distance = np.abs(logit(scores) - logit(np.minimum(self.thresholds, 1.0)))
        return np.where(self.thresholds > 1, np.inf, distance)

    def _near(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(np.clip(1 - self.margins(scores).min(axis=1) / NEAR, 0, 1))

    def _doubtful(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        weights = np.array([TIER_WEIGHTS.get(tier, 0.0) for tier in self.tiers])
        return np.asarray((self.predicted(scores) * weights).max(axis=1))

    def _unread(self, batch: ScoreBatch) -> NDArray[np.float64]:
        share = 1 - batch.tokens_seen / np.maximum(batch.tokens_total, 1)
        return np.asarray(UNREAD_WEIGHT * np.clip(share, 0, 1))

    def _say_near(self, batch: ScoreBatch, at: int) -> Iterator[Reason]:
        weight = float(self._near(batch.scores[at : at + 1])[0])
        if weight > 0:
            column = int(self.margins(batch.scores[at : at + 1])[0].argmin())
            score, threshold = float(batch.scores[at, column]), self.thresholds[column]
            side = "just reaches" if score >= threshold else "just misses"
            text = f"'{self.labels[column]}' {side} its threshold: {score:.3g} against {threshold:.3g}"
            yield Reason(kind="near_threshold", weight=weight, sentence=text)

    def _say_doubtful(self, batch: ScoreBatch, at: int) -> Iterator[Reason]:
        columns = np.flatnonzero(self.predicted(batch.scores[at : at + 1])[0]).tolist()
        doubtful = [column for column in columns if self.tiers[column] in TIER_WEIGHTS]
        if doubtful:
            named = ", ".join(f"'{self.labels[column]}' ({self.tiers[column]})" for column in doubtful)
            weight = max(TIER_WEIGHTS[self.tiers[column]] for column in doubtful)
            text = f"predicted with little evidence: {named}"
            yield Reason(kind="doubtful_label", weight=weight, sentence=text)

    def _say_rest(self, batch: ScoreBatch, at: int) -> Iterator[Reason]:
        if not self.predicted(batch.scores[at : at + 1]).any():
            text = "no label reaches its threshold"
            yield Reason(kind="no_label", weight=EMPTY_WEIGHT, sentence=text)
        seen, total = int(batch.tokens_seen[at]), int(batch.tokens_total[at])
        if seen < total:
            text = f"the model read {seen:,} of {total:,} tokens"
            weight = float(UNREAD_WEIGHT * (1 - seen / total))
            yield Reason(kind="not_all_read", weight=weight, sentence=text)
