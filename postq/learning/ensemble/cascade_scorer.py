"""Bulk scoring with a cascade: the cheap member scores all documents, the dear one the doubtful ones."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from postq.contracts.device import Device
from postq.contracts.document import Document
from postq.contracts.scoring import DocumentFailure, ScoreBatch
from postq.errors import BundleUnusable
from postq.learning.bundle.bundle import Bundle
from postq.learning.ensemble.combining import read_combination, settled
from postq.learning.ensemble.members import open_members
from postq.learning.ensemble.scorer import OnFailure, by_row, taken, window_documents, windows
from postq.learning.hooks import never_stop
from postq.learning.scoring import load_scorer


class CascadeScorer:
    """A loaded cascade; satisfies `learning.scoring.Scorer`."""

    def __init__(
        self, bundle: Bundle, device: Device, *, max_tokens_per_batch: int | None, batch_divisor: int = 1
    ) -> None:
        members = open_members(bundle)
        found = read_combination(bundle.path, labels=len(bundle.labels), members=len(members))
        if found.cascade is None:
            raise BundleUnusable(
                f"The ensemble at {bundle.path} holds no cascade.",
                hint="Make it again with: postq bundles ensemble --method cascade.",
            )
        self._labels = bundle.labels
        self._cascade = found.cascade
        self._window = window_documents(bundle, device)
        self._thresholds = [member.thresholds.values for member in members]
        self._cheap, self._dear = (
            load_scorer(
                member, device, max_tokens_per_batch=max_tokens_per_batch, batch_divisor=batch_divisor
            )
            for member in members
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Column order of the scores."""
        return self._labels

    def score(
        self,
        documents: Iterable[Document],
        *,
        on_failure: OnFailure,
        should_stop: Callable[[], bool] = never_stop,
    ) -> Iterator[ScoreBatch]:
        """One batch per window. A document that a member asked about cannot score goes to `on_failure`."""
        for window in windows(documents, most=self._window):
            failures: dict[int, DocumentFailure] = {}
            cheap = by_row(self._cheap, window, failures=failures, should_stop=should_stop)
            doubtful = self._cascade.deferred(cheap.scores, self._thresholds[0])
            asked = set(cheap.rows[doubtful].tolist())
            dear = by_row(
                self._dear,
                [document for document in window if document.row in asked],
                failures=failures,
                should_stop=should_stop,
            )
            for failure in failures.values():
                on_failure(failure)
            rows = [document.row for document in window if document.row not in failures]
            if rows:
                yield self._joined(taken(cheap, rows), dear)

    def _joined(self, cheap: ScoreBatch, dear: ScoreBatch) -> ScoreBatch:
        """Scores and tokens of the member that decided about each document."""
        scores = settled([cheap.scores], [self._thresholds[0]])
        total, seen = cheap.tokens_total.copy(), cheap.tokens_seen.copy()
        at = np.flatnonzero(np.isin(cheap.rows, dear.rows))
        if len(at):
            deferred = taken(dear, cheap.rows[at].tolist())
            scores[at] = settled([deferred.scores], [self._thresholds[1]])
            total[at], seen[at] = deferred.tokens_total, deferred.tokens_seen
        return ScoreBatch(rows=cheap.rows, scores=scores, tokens_total=total, tokens_seen=seen)
