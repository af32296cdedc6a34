"""Stored scores of a job, streamed by row: what new thresholds and reviews are computed from."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from postq.contracts.scoring import ScoreBatch
from postq.models.tables import prediction

CHUNK = 1000
"""Predictions read at once; memory stays that of one chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBatch:
    """Scores as they were stored, with the content each was given for."""

    scored: ScoreBatch
    content_hashes: dict[int, bytes]
    """By row; 16 bytes."""


def stored_batches(
    session: Session, job_id: int, *, start_row: int = 0, stop_row: int | None = None
) -> Iterator[StoredBatch]:
    """The predictions of a job in rows [start_row, stop_row), ascending."""
    after = start_row - 1
    while rows := session.execute(_query(job_id, after, stop_row)).all():
        yield StoredBatch(
            scored=ScoreBatch(
                rows=np.array([found.row for found in rows], np.int64),
                scores=unpacked([found.scores for found in rows]),
                tokens_total=np.array([found.tokens_total for found in rows], np.int32),
                tokens_seen=np.array([found.tokens_seen for found in rows], np.int32),
            ),
            content_hashes={found.row: bytes(found.content_hash) for found in rows},
        )
        after = rows[-1].row


def unpacked(scores: list[bytes]) -> NDArray[np.float32]:
    """(docs, labels) scores from their stored bytes."""
    return np.frombuffer(b"".join(scores), dtype="<f4").reshape(len(scores), -1).astype(np.float32)


def _query(job_id: int, after: int, stop_row: int | None) -> sa.Select[tuple[int, bytes, bytes, int, int]]:
    table = prediction.c
    query = sa.select(
        table.row, table.content_hash, table.scores, table.tokens_total, table.tokens_seen
    ).where(table.job_id == job_id, table.row > after)
    if stop_row is not None:
        query = query.where(table.row < stop_row)
    return query.order_by(table.row).limit(CHUNK)
