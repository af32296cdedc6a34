"""Writing predictions in bulk, never through the ORM."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from postq.bulk import insert_many
from postq.contracts.scoring import DocumentFailure, ScoreBatch
from postq.counted import counted
from postq.db import storable
from postq.errors import IntegrityError
from postq.learning.thresholds.decision import Decision
from postq.models.tables import document, prediction, prediction_label, quarantine

_PREDICTION = (
    *("job_id", "row", "content_hash", "fingerprint", "bundle_id", "attempt_id"),
    *("scores", "label_count", "tokens_total", "tokens_seen"),
)
_LABEL = ("job_id", "row", "label", "score")
_QUARANTINE = ("job_id", "row", "attempt_id", "error")


def content_hashes(session: Session, *, corpus_id: int, start_row: int, stop_row: int) -> dict[int, bytes]:
    """Row → content hash (16 bytes) of the documents in [start_row, stop_row) of a corpus version."""
    query = sa.select(document.c.row, document.c.content_hash).where(
        document.c.corpus_id == corpus_id, document.c.row >= start_row, document.c.row < stop_row
    )
    return dict(session.execute(query).all())


def write_predictions(
    session: Session,
    *,
    job_id: int,
    attempt_id: int,
    bundle_id: int,
    fingerprint: bytes,
    labels: Sequence[str],
    decision: Decision,
    batches: Iterable[ScoreBatch],
    document_hashes: Mapping[int, bytes],
) -> int:
    """Write every document of `batches` and the labels decided for it; returns how many documents.

    `labels` and `decision` are in the bundle's order, as are the columns of the scores.
    Must run in the transaction that holds the shard's fence. Raises IntegrityError for scores that are not
    numbers in [0, 1], a row without a content hash, or a width other than the labels'.
    """
    common = (job_id, fingerprint, bundle_id, attempt_id)
    written = 0
    for batch in batches:
        _check(batch, labels, document_hashes)
        kept = decision.decide(batch.scores)
        rows = _prediction_rows(batch, kept, document_hashes, common)
        insert_many(session, prediction, _PREDICTION, rows)
        insert_many(session, prediction_label, _LABEL, _label_rows(batch, kept, labels, job_id))
        written += len(batch.rows)
    return written


def write_quarantine(
    session: Session, *, job_id: int, attempt_id: int, failures: Iterable[DocumentFailure]
) -> int:
    """Write the documents that could not be scored, with their errors; returns how many."""
    rows = [(job_id, failure.row, attempt_id, storable(failure.error)) for failure in failures]
    insert_many(session, quarantine, _QUARANTINE, rows)
    return len(rows)


def _prediction_rows(
    batch: ScoreBatch,
    kept: NDArray[np.bool_],
    hashes: Mapping[int, bytes],
    common: tuple[int, bytes, int, int],
) -> Iterator[tuple[Any, ...]]:
    job_id, fingerprint, bundle_id, attempt_id = common
    packed = np.ascontiguousarray(batch.scores, dtype="<f4")
    columns = zip(
        batch.rows.tolist(),
        packed,
        kept.sum(axis=1).tolist(),
        batch.tokens_total.tolist(),
        batch.tokens_seen.tolist(),
        strict=True,
    )
    for row, scores, count, total, seen in columns:
        head = (job_id, row, hashes[row], fingerprint, bundle_id, attempt_id)
        yield (*head, scores.tobytes(), count, total, seen)


def _label_rows(
    batch: ScoreBatch, kept: NDArray[np.bool_], labels: Sequence[str], job_id: int
) -> Iterator[tuple[Any, ...]]:
    documents, columns = np.nonzero(kept)
    rows = batch.rows[documents].tolist()
    scores = batch.scores[documents, columns].tolist()
    for row, column, score in zip(rows, columns.tolist(), scores, strict=True):
        yield job_id, row, labels[column], score


def _check(batch: ScoreBatch, labels: Sequence[str], hashes: Mapping[int, bytes]) -> None:
    if batch.scores.shape != (len(batch.rows), len(labels)):
        raise IntegrityError(
            f"Scores of shape {batch.scores.shape} do not fit {counted(len(batch.rows), 'document')} "
            f"and {counted(len(labels), 'label')}.",
            hint="The bundle that scored is not the one the job names; retry the job.",
        )
    if not bool(np.all((batch.scores >= 0) & (batch.scores <= 1))):
        raise IntegrityError(
            "A score is not a number between 0 and 1.",
            hint="Check the bundle with: postq bundles show; train it again if its weights are damaged.",
        )
    unknown = [row for row in batch.rows.tolist() if row not in hashes]
    if unknown:
        raise IntegrityError(
            f"Row {unknown[0]} was scored but is not a document of the corpus.",
            hint="Check the corpus with: postq corpus show; add it again if its snapshot was replaced.",
        )
