"""Asking for predictions: by job, corpus, document and label, as a stream that never holds them all."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.errors import LabelSetMismatch
from postq.models.tables import bundle, corpus, document, job, prediction, prediction_label, quarantine

SHOWN_LABELS = 20
CHUNK = 1000
"""Predictions read at once; memory stays that of one chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionFilter:
    """Which predictions are wanted; everything left out means all."""

    job_id: int | None = None
    corpus_id: int | None = None
    document_id: str | None = None
    label: str | None = None
    """Only documents this label is predicted for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionView:
    """One document's prediction by one job."""

    job_id: int
    corpus: str
    """Name and version, such as `opinions v3`."""
    document_id: str
    row: int
    bundle_id: int
    bundle: str
    fingerprint: str
    """Hexadecimal."""
    labels: tuple[tuple[str, float], ...]
    """Labels predicted, with their own scores, highest first; one brought by a rule may lie under its
    threshold."""
    scores: tuple[tuple[str, float], ...]
    """Every label of the bundle with its score, in the bundle's order."""
    tokens_total: int
    tokens_seen: int
    attempt_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineView:
    """One document a job could not score."""

    job_id: int
    document_id: str
    row: int
    attempt_id: int
    error: str


def check_label(session: Session, label: str, *, job_id: int | None) -> None:
    """Raise LabelSetMismatch unless the job's bundle, or without a job any bundle, knows the label."""
    query = sa.select(bundle.c.labels)
    if job_id is not None:
        query = query.join(job, job.c.bundle_id == bundle.c.id).where(job.c.id == job_id)
    known = sorted({name for labels in session.scalars(query) for name in labels})
    if not known or label in known:
        return
    whose = "No bundle knows" if job_id is None else f"The bundle of job {job_id} does not know"
    close = get_close_matches(label.lower(), [name.lower() for name in known])
    near = [name for name in known if name.lower() in close]
    hint = f"Did you mean {' or '.join(map(repr, near))}?" if near else _some(known)
    raise LabelSetMismatch(f"{whose} a label '{label}'.", hint=hint)


def _some(labels: Sequence[str]) -> str:
    listed, more = ", ".join(labels[:SHOWN_LABELS]), len(labels) - SHOWN_LABELS
    rest = f", and {more:,} more; `postq bundles show` lists them" if more > 0 else ""
    return f"Labels are: {listed}{rest}."


def predictions(
    session: Session, wanted: PredictionFilter, *, limit: int | None = None
) -> Iterator[PredictionView]:
    """Predictions in order of job and row, read in chunks."""
    return islice(_all(session, wanted), limit)


def count_predictions(session: Session, wanted: PredictionFilter) -> int:
    """How many predictions `predictions` would give."""
    return session.execute(_query(wanted).with_only_columns(sa.func.count())).scalar_one()


def quarantined(session: Session, job_id: int, *, limit: int | None = None) -> Iterator[QuarantineView]:
    """The documents a job set apart, by row, with their errors."""
    query = (
        sa.select(quarantine, document.c.document_id)
        .join_from(quarantine, job, job.c.id == quarantine.c.job_id)
        .join(document, (document.c.corpus_id == job.c.corpus_id) & (document.c.row == quarantine.c.row))
        .where(quarantine.c.job_id == job_id)
        .order_by(quarantine.c.row)
    )
    for found in session.execute(query.limit(limit)):
        yield QuarantineView(**dict(found._mapping))


def _all(session: Session, wanted: PredictionFilter) -> Iterator[PredictionView]:
    after = (-1, -1)
    while chunk := _chunk(session, wanted, after):
        yield from _views(session, chunk)
        after = (chunk[-1].job_id, chunk[-1].row)


def _query(wanted: PredictionFilter) -> sa.Select[Any]:
    query = (
        sa.select(
            prediction,
            document.c.document_id,
            (corpus.c.name + " v" + sa.cast(corpus.c.version, sa.String)).label("corpus"),
        )
        .join_from(prediction, job, job.c.id == prediction.c.job_id)
        .join(corpus, corpus.c.id == job.c.corpus_id)
        .join(document, (document.c.corpus_id == job.c.corpus_id) & (document.c.row == prediction.c.row))
    )
    if wanted.job_id is not None:
        query = query.where(prediction.c.job_id == wanted.job_id)
    if wanted.corpus_id is not None:
        query = query.where(job.c.corpus_id == wanted.corpus_id)
    if wanted.document_id is not None:
        query = query.where(document.c.document_id == wanted.document_id)
    if wanted.label is not None:
        query = query.join(
            prediction_label,
            (prediction_label.c.job_id == prediction.c.job_id)
            & (prediction_label.c.row == prediction.c.row)
            & (prediction_label.c.label == wanted.label),
        )
    return query


def _chunk(session: Session, wanted: PredictionFilter, after: tuple[int, int]) -> Sequence[sa.Row[Any]]:
    job_id, row = after
    later = sa.or_(
        prediction.c.job_id > job_id, sa.and_(prediction.c.job_id == job_id, prediction.c.row > row)
    )
    if wanted.job_id is not None:  # one range over the primary key
        later = prediction.c.row > row
    query = _query(wanted).where(later).order_by(prediction.c.job_id, prediction.c.row).limit(CHUNK)
    return session.execute(query).all()


def _views(session: Session, chunk: Sequence[sa.Row[Any]]) -> Iterator[PredictionView]:
    bundles = {
        row.id: row
        for row in session.execute(
            sa.select(bundle.c.id, bundle.c.name, bundle.c.labels).where(
                bundle.c.id.in_({found.bundle_id for found in chunk})
            )
        )
    }
    over = _labels_over(session, chunk)
    for found in chunk:
        made_by = bundles[found.bundle_id]
        scores = np.frombuffer(found.scores, dtype="<f4").tolist()
        yield PredictionView(
            job_id=found.job_id,
            corpus=found.corpus,
            document_id=found.document_id,
            row=found.row,
            bundle_id=found.bundle_id,
            bundle=made_by.name,
            fingerprint=found.fingerprint.hex(),
            labels=tuple(over[found.job_id, found.row]),
            scores=tuple(zip(made_by.labels, scores, strict=True)),
            tokens_total=found.tokens_total,
            tokens_seen=found.tokens_seen,
            attempt_id=found.attempt_id,
        )


def _labels_over(
    session: Session, chunk: Sequence[sa.Row[Any]]
) -> dict[tuple[int, int], list[tuple[str, float]]]:
    over: dict[tuple[int, int], list[tuple[str, float]]] = defaultdict(list)
    table = prediction_label.c
    for job_id in sorted({found.job_id for found in chunk}):
        rows = [found.row for found in chunk if found.job_id == job_id]
        query = (
            sa.select(table.row, table.label, table.score)
            .where(table.job_id == job_id, table.row.in_(rows))
            .order_by(table.row, table.score.desc(), table.label)
        )
        for row, label, score in session.execute(query):
            over[job_id, row].append((label, score))
    return over
