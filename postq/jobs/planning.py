"""Which shards a job has: one for training and evaluation, row ranges of the corpus for classification."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.contracts.specs import ClassifySpec, EvaluateSpec, JobSpec, TrainSpec
from postq.models.bundle import BundleRow
from postq.models.corpus import Corpus
from postq.models.tables import document, job, prediction, quarantine, shard
from postq.registry.references import hold_bundle
from postq.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRange:
    """Rows [start, stop) of a snapshot."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many rows."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a job will do from the moment it is ready; `ranges` is empty when nothing is to be done."""

    ranges: tuple[RowRange, ...]
    documents: int
    skipped: int
    """Documents outside every range: scored before with the same content and fingerprint."""
    bundle_id: int | None
    fingerprint: bytes | None
    sticky: str
    reason: str

    @property
    def pinned(self) -> dict[str, Any]:
        """The job's columns that hold from now on, so that one job never mixes two bundles."""
        return {
            "bundle_id": self.bundle_id,
            "fingerprint": self.fingerprint,
            "documents_total": self.documents,
            "documents_predicted": 0,
            "documents_quarantined": 0,
            "documents_skipped": self.skipped,
        }


def plan_job(session: Session, spec: JobSpec, *, settings: Settings) -> Plan:
    """Resolve the bundle and cut the corpus into ranges, without loading a document.

    Raises NotFound or Conflict when the bundle reference leads nowhere.
    """
    corpus = session.get_one(Corpus, spec.corpus_id)
    if isinstance(spec, TrainSpec):
        return _one_range(corpus, bundle=None)
    bundle = hold_bundle(session, spec.bundle)
    if isinstance(spec, EvaluateSpec):
        return _one_range(corpus, bundle=bundle)
    return _classification(session, spec, corpus, bundle, settings)


def lay_shards(session: Session, job_id: int, plan: Plan, *, now: datetime) -> None:
    """Insert the plan's shards in bulk; priority and needs are those of the job."""
    needs = session.execute(
        sa.select(job.c.priority, job.c.device_kind, job.c.memory_bytes).where(job.c.id == job_id)
    ).one()
    common = {"job_id": job_id, "sticky": plan.sticky, "ready_at": now, **needs._mapping}
    rows = [{**common, "start_row": rows.start, "stop_row": rows.stop} for rows in plan.ranges]
    if rows:
        session.execute(sa.insert(shard), rows)


def pending_rows(
    session: Session,
    *,
    job_id: int,
    spec: ClassifySpec,
    fingerprint: bytes | None,
    start_row: int,
    stop_row: int,
) -> tuple[int, ...]:
    """Rows of [start_row, stop_row) the job still has to score, ascending.

    Left out are rows this job has predicted or quarantined and, with `only_new`, those another job has
    scored with the same content and fingerprint. Equal documents within one job are all scored, so that
    the result does not depend on which shard came first.
    """
    if not spec.only_new:
        ended = _ended_rows(session, job_id, start_row, stop_row)
        return tuple(row for row in range(start_row, stop_row) if row not in ended)
    ended = _ended_rows(session, job_id, start_row, stop_row)
    unscored = (
        sa.select(document.c.row)
        .where(
            document.c.corpus_id == spec.corpus_id,
            document.c.row >= start_row,
            document.c.row < stop_row,
            ~_scored_elsewhere(fingerprint, job_id=job_id),
        )
        .order_by(document.c.row)
    )
    return tuple(row for row in session.scalars(unscored) if row not in ended)


def shard_size(corpus: Corpus, settings: Settings) -> int:
    """Documents in one shard: bounded by number and, through the corpus' mean length, by words."""
    mean_words = max(1, -(-corpus.words // max(1, corpus.documents)))
    return max(1, min(settings.shard_documents, settings.shard_words // mean_words))


def _one_range(corpus: Corpus, *, bundle: BundleRow | None) -> Plan:
    return Plan(
        ranges=(RowRange(start=0, stop=corpus.documents),),
        documents=corpus.documents,
        skipped=0,
        bundle_id=bundle.id if bundle else None,
        fingerprint=bundle.fingerprint if bundle else None,
        sticky=bundle.digest if bundle else "",
        reason="waits for a worker",
    )


def _classification(
    session: Session, spec: ClassifySpec, corpus: Corpus, bundle: BundleRow, settings: Settings
) -> Plan:
    size = shard_size(corpus, settings)
    if spec.only_new and _any_scored(session, bundle.fingerprint):
        ranges = tuple(merged(_new_windows(session, corpus, bundle.fingerprint, size), size))
    else:
        ranges = tuple(even_ranges(corpus.documents, size))
    skipped = corpus.documents - sum(rows.size for rows in ranges)
    return Plan(
        ranges=ranges,
        documents=corpus.documents,
        skipped=skipped,
        bundle_id=bundle.id,
        fingerprint=bundle.fingerprint,
        sticky=bundle.digest,
        reason="waits for a worker" if ranges else _nothing_new(corpus, bundle),
    )


def _nothing_new(corpus: Corpus, bundle: BundleRow) -> str:
    if corpus.documents == 0:
        return f"nothing to do: corpus {corpus.name} version {corpus.version} has no documents"
    return (
        f"nothing new: every document of {corpus.name} version {corpus.version} ({corpus.documents:,}) "
        f"has a prediction of bundle {bundle.id} ({bundle.name})"
    )


def even_ranges(documents: int, size: int) -> Iterator[RowRange]:
    """Ranges over all documents, none larger than `size`, all of nearly the same size."""
    pieces = -(-documents // size)
    for piece in range(pieces):
        yield RowRange(start=piece * documents // pieces, stop=(piece + 1) * documents // pieces)


def _any_scored(session: Session, fingerprint: bytes) -> bool:
    first = sa.select(sa.literal(1)).where(prediction.c.fingerprint == fingerprint).limit(1)
    return session.execute(first).first() is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of rows with its first and last unscored document and how many there are."""

    start: int
    stop: int
    unscored: int


def _new_windows(session: Session, corpus: Corpus, fingerprint: bytes, size: int) -> list[Window]:
    number = (document.c.row // size).label("number")
    query = (
        sa.select(number, sa.func.min(document.c.row), sa.func.max(document.c.row) + 1, sa.func.count())
        .where(document.c.corpus_id == corpus.id, ~_scored_elsewhere(fingerprint))
        .group_by(number)
        .order_by(number)
    )
    return [
        Window(start=start, stop=stop, unscored=count) for _, start, stop, count in session.execute(query)
    ]


def merged(windows: Iterable[Window], size: int) -> Iterator[RowRange]:
    """Join neighbouring windows while they hold no more than `size` unscored documents together."""
    held: Window | None = None
    for window in windows:
        if held is not None and held.unscored + window.unscored <= size:
            held = Window(start=held.start, stop=window.stop, unscored=held.unscored + window.unscored)
            continue
        if held is not None:
            yield RowRange(start=held.start, stop=held.stop)
        held = window
    if held is not None:
        yield RowRange(start=held.start, stop=held.stop)


def _scored_elsewhere(fingerprint: bytes | None, *, job_id: int | None = None) -> sa.ColumnElement[bool]:
    scored = sa.select(sa.literal(1)).where(
        prediction.c.fingerprint == fingerprint,
        prediction.c.content_hash == document.c.content_hash,
    )
    if job_id is not None:
        scored = scored.where(prediction.c.job_id != job_id)
    return scored.correlate(document).exists()


def _ended_rows(session: Session, job_id: int, start_row: int, stop_row: int) -> set[int]:
    ended: set[int] = set()
    for table in (prediction, quarantine):
        query = sa.select(table.c.row).where(
            table.c.job_id == job_id, table.c.row >= start_row, table.c.row < stop_row
        )
        ended.update(session.scalars(query))
    return ended
