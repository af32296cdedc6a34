"""Which members are asked about a document: all of them, or the dear one only where the cheap one doubts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from postq.contracts.document import Document
from postq.contracts.scoring import DocumentFailure, ScoreBatch
from postq.learning.ensemble.by_row import by_row, nothing, taken
from postq.learning.ensemble.cascade import Cascade
from postq.learning.ensemble.combining import Combination, settled
from postq.learning.scorer import Scorer

Failures = dict[int, DocumentFailure]
Cuts = Sequence[NDArray[np.float64]]
"""(labels,) thresholds of each member."""


class Asking(Protocol):
    """Scores a window of documents with the members."""

    def answer(
        self, window: Sequence[Document], *, failures: Failures, should_stop: Callable[[], bool]
    ) -> ScoreBatch:
        """Joint scores of those documents that no member failed on; failures are added to `failures`."""


def asking_of(combination: Combination, members: Sequence[Scorer], *, thresholds: Cuts) -> Asking:
    """The way of asking that the ensemble's method wants."""
    if combination.cascade is None:
        return AskAll(combination=combination, members=members, thresholds=thresholds)
    cheap, dear = members
    return AskDoubtful(cascade=combination.cascade, cheap=cheap, dear=dear, thresholds=thresholds)


@dataclass(kw_only=True)
class AskAll:
    """Every member scores every document."""

    combination: Combination
    members: Sequence[Scorer]
    thresholds: Cuts

    def answer(
        self, window: Sequence[Document], *, failures: Failures, should_stop: Callable[[], bool]
    ) -> ScoreBatch:
        """Scores combined; tokens are those of the member that read the least of each document."""
        found = [by_row(one, window, failures=failures, should_stop=should_stop) for one in self.members]
        rows = [document.row for document in window if document.row not in failures]
        if not rows:
            return nothing(len(self.members[0].labels))
        parts = [taken(batch, rows) for batch in found]
        least = np.array([part.tokens_total - part.tokens_seen for part in parts]).argmax(axis=0)
        each = np.arange(len(rows))
        return ScoreBatch(
            rows=np.array(rows, np.int64),
            scores=self.combination.combine([part.scores for part in parts], thresholds=self.thresholds),
            tokens_total=np.array([part.tokens_total for part in parts])[least, each],
            tokens_seen=np.array([part.tokens_seen for part in parts])[least, each],
        )


@dataclass(kw_only=True)
class AskDoubtful:
    """The cheap member scores all documents, the dear one those the cheap one is in doubt about."""

    cascade: Cascade
    cheap: Scorer
    dear: Scorer
    thresholds: Cuts

    def answer(
        self, window: Sequence[Document], *, failures: Failures, should_stop: Callable[[], bool]
    ) -> ScoreBatch:
        """Scores and tokens of the member that decided about each document."""
        cheap = by_row(self.cheap, window, failures=failures, should_stop=should_stop)
        doubtful = set(cheap.rows[self.cascade.deferred(cheap.scores, self.thresholds[0])].tolist())
        asked = [document for document in window if document.row in doubtful]
        dear = by_row(self.dear, asked, failures=failures, should_stop=should_stop)
        rows = [document.row for document in window if document.row not in failures]
        return self._joined(taken(cheap, rows), dear) if rows else nothing(len(self.cheap.labels))

    def _joined(self, cheap: ScoreBatch, dear: ScoreBatch) -> ScoreBatch:
        scores = settled([cheap.scores], [self.thresholds[0]])
        total, seen = cheap.tokens_total.copy(), cheap.tokens_seen.copy()
        at = np.flatnonzero(np.isin(cheap.rows, dear.rows))
        if len(at):
            deferred = taken(dear, cheap.rows[at].tolist())
            scores[at] = settled([deferred.scores], [self.thresholds[1]])
            total[at], seen[at] = deferred.tokens_total, deferred.tokens_seen
        return ScoreBatch(rows=cheap.rows, scores=scores, tokens_total=total, tokens_seen=seen)
