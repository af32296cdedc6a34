"""One member's scores of a window of documents, sorted by row to lie beside those of the others."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from postq.contracts.document import Document
from postq.contracts.scoring import DocumentFailure, ScoreBatch
from postq.learning.scorer import Scorer


def by_row(
    scorer: Scorer,
    window: Sequence[Document],
    *,
    failures: dict[int, DocumentFailure],
    should_stop: Callable[[], bool],
) -> ScoreBatch:
    """All of one member's batches together, sorted by row; its failures are added to `failures`."""

    def remember(failure: DocumentFailure) -> None:
        failures.setdefault(failure.row, failure)

    batches = list(scorer.score(window, on_failure=remember, should_stop=should_stop))
    if not batches:
        return nothing(len(scorer.labels))
    order = np.argsort(np.concatenate([batch.rows for batch in batches]))
    return _sorted(batches, order)


def taken(batch: ScoreBatch, rows: Sequence[int]) -> ScoreBatch:
    """The wanted rows, in their order."""
    at = np.searchsorted(batch.rows, rows)
    return _sorted([batch], at)


def nothing(labels: int) -> ScoreBatch:
    """Scores of no document."""
    none = np.zeros(0, np.int32)
    scores = np.zeros((0, labels), np.float32)
    return ScoreBatch(rows=np.zeros(0, np.int64), scores=scores, tokens_total=none, tokens_seen=none)


def _sorted(batches: Sequence[ScoreBatch], order: NDArray[np.intp]) -> ScoreBatch:
    return ScoreBatch(
        rows=np.concatenate([batch.rows for batch in batches])[order],
        scores=np.concatenate([batch.scores for batch in batches])[order],
        tokens_total=np.concatenate([batch.tokens_total for batch in batches])[order],
        tokens_seen=np.concatenate([batch.tokens_seen for batch in batches])[order],
    )
