"""What drift is judged by, read from stored predictions: a job's sketch, and labels that flipped."""

from collections.abc import Callable, Sequence

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.learning.drift import Flips, Sketch, sketch
from postq.learning.hooks import StopRequested, never_stop
from postq.learning.thresholds.decision import Decision
from postq.models.tables import job, prediction, prediction_label
from postq.predictions.stored import stored_batches

SHOWN_FLIPS = 20
ASK = 500
"""Documents whose labels are looked up at once."""

Place = tuple[int, int]
"""Job and row of a prediction."""


def sketch_job(
    session: Session,
    job_id: int,
    *,
    decision: Decision,
    without: frozenset[bytes] = frozenset(),
    should_stop: Callable[[], bool] = never_stop,
) -> Sketch:
    """The sketch of a job's predictions, as its bundle decides them; scores are streamed.

    Documents whose content hash is in `without` are left out. Raises StopRequested.
    """
    total = sketch(np.zeros((0, len(decision.thresholds)), np.float32), decision)
    for batch in stored_batches(session, job_id):
        if should_stop():
            raise StopRequested
        hashes = (batch.content_hashes[row] for row in batch.scored.rows.tolist())
        kept = np.array([content not in without for content in hashes], np.bool_)
        total += sketch(batch.scored.scores[kept], decision)
    return total


def find_flips(session: Session, job_id: int, *, should_stop: Callable[[], bool] = never_stop) -> Flips:
    """The job's documents whose content the same fingerprint has scored before, and those labelled otherwise.

    Before means in an earlier job that was not forgotten, or further up in this one. Scores that are equal
    to the byte need no further look. Raises StopRequested.
    """
    mine, theirs = prediction.alias(), prediction.alias()
    earlier = sa.or_(
        theirs.c.job_id < mine.c.job_id,
        (theirs.c.job_id == mine.c.job_id) & (theirs.c.row < mine.c.row),
    )
    same = (
        (theirs.c.fingerprint == mine.c.fingerprint)
        & (theirs.c.content_hash == mine.c.content_hash)
        & earlier
        & theirs.c.job_id.in_(sa.select(job.c.id))
    )
    joined = sa.select(mine.c.row, theirs.c.job_id, theirs.c.row).join_from(mine, theirs, same)
    counted = sa.select(sa.func.count(sa.distinct(mine.c.row))).join_from(mine, theirs, same)
    compared = session.scalar(counted.where(mine.c.job_id == job_id))
    flipped: dict[int, Place] = {}
    unequal = joined.where(mine.c.job_id == job_id, theirs.c.scores != mine.c.scores).order_by(mine.c.row)
    for pairs in session.execute(unequal).partitions(ASK):
        if should_stop():
            raise StopRequested
        for row, other in _flipped(session, job_id, [(pair[0], (pair[1], pair[2])) for pair in pairs]):
            flipped.setdefault(row, other)
    shown = list(flipped.items())[:SHOWN_FLIPS]
    return Flips(
        compared=int(compared or 0),
        flipped=len(flipped),
        examples=tuple((row, *other) for row, other in shown),
    )


def _flipped(session: Session, job_id: int, pairs: Sequence[tuple[int, Place]]) -> list[tuple[int, Place]]:
    own = _labels(session, {(job_id, row) for row, _ in pairs})
    others = _labels(session, {place for _, place in pairs})
    nothing: frozenset[str] = frozenset()
    return [
        (row, place) for row, place in pairs if own.get((job_id, row), nothing) != others.get(place, nothing)
    ]


def _labels(session: Session, places: set[Place]) -> dict[Place, frozenset[str]]:
    """The labels of each place that has any."""
    table = prediction_label.c
    found: dict[Place, set[str]] = {}
    for job_id in sorted({place[0] for place in places}):
        rows = [row for owner, row in places if owner == job_id]
        query = sa.select(table.row, table.label).where(table.job_id == job_id, table.row.in_(rows))
        for row, label in session.execute(query):
            found.setdefault((job_id, row), set()).add(label)
    return {place: frozenset(labels) for place, labels in found.items()}
