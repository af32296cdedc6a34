"""The review queue of a job: its documents ranked by how much they need a person, from stored scores."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from postq.contracts.scoring import ScoreBatch
from postq.learning.review import Judge, Reason
from postq.models.tables import document
from postq.predictions.stored import stored_batches

ASK = 500
"""Document ids looked up at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewItem:
    """One document that needs a person."""

    rank: int
    """From 1, the one that needs it most."""
    document_id: str
    row: int
    need: float
    """The weights of its reasons together."""
    reasons: tuple[Reason, ...]
    """Weightiest first."""
    labels: tuple[tuple[str, float], ...]
    """Predicted labels with their scores, highest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    row: int
    need: float
    reasons: tuple[Reason, ...]
    labels: tuple[tuple[str, float], ...]

    @property
    def order(self) -> tuple[float, int]:
        """Smaller comes first; equal needs in order of rows."""
        return -self.need, self.row


def review_queue(
    session: Session, *, job_id: int, corpus_id: int, judge: Judge, limit: int
) -> list[ReviewItem]:
    """The `limit` documents that need a person most; documents without any reason are not in it.

    Reads the job's scores as a stream: memory holds one chunk and the best so far.
    """
    best: list[_Candidate] = []
    for batch in stored_batches(session, job_id):
        found = _candidates(batch.scored, judge, limit)
        best = heapq.nsmallest(limit, [*best, *found], key=lambda each: each.order)
    names = _document_ids(session, corpus_id, [each.row for each in best])
    return [
        ReviewItem(
            rank=rank,
            document_id=names[each.row],
            row=each.row,
            need=round(each.need, 4),
            reasons=each.reasons,
            labels=each.labels,
        )
        for rank, each in enumerate(best, start=1)
    ]


def _candidates(batch: ScoreBatch, judge: Judge, limit: int) -> Iterator[_Candidate]:
    needs = judge.needs(batch)
    ranked = sorted(range(len(needs)), key=lambda at: (-needs[at], at))
    for at in ranked[:limit]:
        if needs[at] > 0:
            row = int(batch.rows[at])
            labels = _predicted(judge, batch.scores[at : at + 1])
            yield _Candidate(row=row, need=float(needs[at]), reasons=judge.reasons(batch, at), labels=labels)


def _predicted(judge: Judge, scores: NDArray[np.float32]) -> tuple[tuple[str, float], ...]:
    """Of one (1, labels) document, as it is stored."""
    columns = np.flatnonzero(judge.predicted(scores)[0]).tolist()
    over = [(judge.labels[at], float(scores[0, at])) for at in columns]
    return tuple(sorted(over, key=lambda pair: -pair[1]))


def _document_ids(session: Session, corpus_id: int, rows: list[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for start in range(0, len(rows), ASK):
        query = sa.select(document.c.row, document.c.document_id).where(
            document.c.corpus_id == corpus_id, document.c.row.in_(rows[start : start + ASK])
        )
        found.update(dict(session.execute(query).all()))
    return found
