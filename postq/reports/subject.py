"""What a report is about: the bundle, and the evaluation where one was named, found in the database."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import col

from postq.contracts.specs import JobKind
from postq.errors import BadInput, Conflict, NotFound
from postq.models.bundle import Alias, BundleRow
from postq.models.corpus import Corpus
from postq.models.event import Event
from postq.models.job import Job
from postq.registry.references import resolve_bundle

_JOB = re.compile(r"(?:job:)?(\d{1,18})")
_BUNDLE = re.compile(r"bundle:(.+)")
ENGINE_EVENTS = ("job.", "shard.", "checkpoint", "attempt.")
"""Beginnings of the types that the engine writes; all others are notes of a learner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something a learner said while it worked, such as a detector."""

    job_id: int
    event: str
    message: str
    severity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What an evaluation job stored."""

    job_id: int
    corpus: str
    split: str
    documents: int
    leaks: Mapping[str, Any]
    report: Mapping[str, Any]
    """As `learning.evaluation.report` makes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A bundle's row and what else the database knows of it."""

    bundle_id: int
    name: str
    kind: str
    digest: str
    folder: Path
    fingerprint: str
    aliases: tuple[str, ...]
    job_id: int | None
    """The training job."""
    test_touches: int
    created_at: datetime
    notes: tuple[Note, ...]
    corpus: Mapping[str, Any]
    """Documents, words, labelled_documents and set_aside of the training corpus; empty when it is unknown."""
    evaluation: Evaluation | None = None


def find_subject(session: Session, reference: str, *, home: Path) -> Subject:
    """The subject of `7`, `job:7`, `bundle:3`, a bundle's name or `@alias`; a bare number is a job.

    Raises NotFound, Conflict for a job without a result yet, BadInput for a classification.
    """
    match = _JOB.fullmatch(reference)
    if match:
        return _of_job(session, int(match[1]), home=home)
    named = _BUNDLE.fullmatch(reference)
    row = resolve_bundle(session, named[1] if named else reference)
    return _of_bundle(session, row, home=home)


def _of_job(session: Session, job_id: int, *, home: Path) -> Subject:
    job = session.get(Job, job_id)
    if job is None:
        raise NotFound(f"There is no job {job_id}.", hint="See all jobs with: postq status.")
    if job.kind is JobKind.CLASSIFY:
        named = f"bundle:{job.bundle_id}" if job.bundle_id else "BUNDLE"
        raise BadInput(
            f"Job {job_id} is a classification, which has no truth to be judged by.",
            hint=f"Report its bundle with: postq report {named}.",
        )
    row = session.get(BundleRow, job.bundle_id) if job.bundle_id is not None else None
    if row is None or job.result is None:
        raise Conflict(
            f"Job {job_id} ({job.state.value}) has no result to report yet.",
            hint=f"See why with: postq status {job_id}.",
        )
    return _of_bundle(session, row, home=home, job=job)


def _of_bundle(session: Session, row: BundleRow, *, home: Path, job: Job | None = None) -> Subject:
    judged = job if job is not None and job.kind is JobKind.EVALUATE else None
    trained_on = session.get(Job, row.job_id) if row.job_id is not None else None
    return Subject(
        bundle_id=row.id or 0,
        name=row.name,
        kind=row.kind,
        digest=row.digest,
        folder=home / row.path,
        fingerprint=row.fingerprint.hex(),
        aliases=_aliases(session, row),
        job_id=row.job_id,
        test_touches=row.test_touches,
        created_at=row.created_at,
        notes=_notes(session, [number for number in (row.job_id, judged.id if judged else None) if number]),
        corpus=_corpus_facts(session, trained_on),
        evaluation=_evaluation(session, judged) if judged else None,
    )


def _aliases(session: Session, row: BundleRow) -> tuple[str, ...]:
    query = sa.select(col(Alias.name)).where(col(Alias.bundle_id) == row.id).order_by(col(Alias.name))
    return tuple(session.scalars(query))


def _corpus_facts(session: Session, trained: Job | None) -> dict[str, Any]:
    corpus = session.get(Corpus, trained.corpus_id) if trained else None
    if corpus is None:
        return {}
    names = ("documents", "words", "labelled_documents", "set_aside", "digest", "source")
    return {name: getattr(corpus, name) for name in names}


def _evaluation(session: Session, job: Job) -> Evaluation:
    corpus = session.get(Corpus, job.corpus_id)
    result = job.result or {}
    return Evaluation(
        job_id=job.id or 0,
        corpus=f"{corpus.name} v{corpus.version}" if corpus else "",
        split=str(result["split"]),
        documents=int(result["documents"]),
        leaks=result.get("leaks") or {"documents": 0},
        report=result["report"],
    )


def _notes(session: Session, job_ids: Sequence[int]) -> tuple[Note, ...]:
    """What learners noted, once each: a job that was tried twice says the same things twice."""
    query = sa.select(Event).where(col(Event.job_id).in_(job_ids)).order_by(col(Event.id))
    told = (event for event in session.scalars(query) if not event.type.startswith(ENGINE_EVENTS))
    return tuple(dict.fromkeys(_note(event) for event in told if event.message))


def _note(event: Event) -> Note:
    severity = str((event.data or {}).get("severity", "info"))
    return Note(job_id=event.job_id, event=event.type, message=event.message, severity=severity)


def without_evaluation(subject: Subject) -> Subject:
    """The bundle itself, whichever job named it."""
    return replace(subject, evaluation=None)
