"""One number for a job's whole result: equal results give equal digests, however the work was cut."""

import hashlib
import struct
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.models.tables import prediction, prediction_label, quarantine

_CHUNK = 10_000


def result_digest(session: Session, job_id: int) -> str:
    """SHA-256 over rows ascending: row, content hash, scores and labels over threshold; then what was
    quarantined. Shards, attempts, workers, bundle numbers and times play no part.
    """
    hashed = hashlib.sha256()
    labels = _labels(session, job_id)
    pending = next(labels, None)
    for row, content_hash, scores in _scores(session, job_id):
        own: tuple[str, ...] = ()
        if pending is not None and pending[0] == row:
            own, pending = pending[1], next(labels, None)
        hashed.update(struct.pack("<qII", row, len(scores), len(own)) + content_hash + scores)
        for label in own:
            hashed.update(struct.pack("<I", len(label.encode())) + label.encode())
    for row in session.scalars(_quarantined(job_id)):
        hashed.update(b"quarantined" + struct.pack("<q", row))
    return hashed.hexdigest()


def _scores(session: Session, job_id: int) -> Iterator[tuple[int, bytes, bytes]]:
    after = -1
    while True:
        query = (
            sa.select(prediction.c.row, prediction.c.content_hash, prediction.c.scores)
            .where(prediction.c.job_id == job_id, prediction.c.row > after)
            .order_by(prediction.c.row)
            .limit(_CHUNK)
        )
        chunk = session.execute(query).all()
        if not chunk:
            return
        yield from chunk
        after = chunk[-1][0]


def _labels(session: Session, job_id: int) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(row, labels sorted as text) of the rows that have any, ascending."""
    after = -1
    while True:
        last = (
            sa.select(prediction_label.c.row)
            .where(prediction_label.c.job_id == job_id, prediction_label.c.row > after)
            .order_by(prediction_label.c.row)
            .limit(_CHUNK)
            .subquery()
        )
        stop = session.scalar(sa.select(sa.func.max(last.c.row)))
        if stop is None:
            return
        query = sa.select(prediction_label.c.row, prediction_label.c.label).where(
            prediction_label.c.job_id == job_id,
            prediction_label.c.row > after,
            prediction_label.c.row <= stop,
        )
        pairs = sorted(session.execute(query))  # in Python, since databases sort text differently
        for row, group in groupby(pairs, key=itemgetter(0)):
            yield row, tuple(label for _, label in group)
        after = stop


def _quarantined(job_id: int) -> sa.Select[int]:
    return sa.select(quarantine.c.row).where(quarantine.c.job_id == job_id).order_by(quarantine.c.row)
