"""Drift of a finished classification: what it is compared with, and how it compares."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import col

from postq.contracts.specs import JobKind
from postq.counted import counted
from postq.errors import BadInput, Conflict, LabelSetMismatch, NotFound
from postq.jobs.states import JOB_SUCCEEDED
from postq.learning.bundle import Bundle, open_bundle
from postq.learning.bundle.score_file import read_scores
from postq.learning.bundle.split_file import read_split
from postq.learning.drift import FEWEST_FOR_PSI, Drift, Sketch, compare_sketches, sketch
from postq.learning.hooks import never_stop
from postq.models.bundle import BundleRow
from postq.models.job import Job
from postq.predictions.drift import find_flips, sketch_job
from postq.registry.references import resolve_bundle

LOOKED_BACK = 3
"""Earlier runs of a schedule tried as the reference, since a night may have scored little that is new."""
_JOB = re.compile(r"(?:job:)?(\d{1,18})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a job is compared with."""

    name: str
    """`job 12`, or `the stored test scores of bundle 3`."""
    job_id: int | None
    bundle_id: int
    sketch: Sketch
    same_scores: bool
    """Whether the same fingerprint gave both, so that scores may be compared and not just labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How a job compares."""

    job_id: int
    reference: Reference
    drift: Drift
    left_out: int
    """Documents of the job that its bundle has learned from."""


def measure_drift(
    session: Session,
    job_id: int,
    *,
    home: Path,
    against: str | None = None,
    should_stop: Callable[[], bool] = never_stop,
) -> Measured:
    """Compare a finished classification with `against` (a job or a bundle), or with its usual reference.

    That is the newest earlier run of its schedule by the same fingerprint with enough documents, else the
    test scores its bundle keeps. Documents that a bundle learned from are left out on both sides: their
    scores are not like those of new ones. Raises NotFound, BadInput for another kind of job, Conflict where
    there is nothing to compare, LabelSetMismatch, what opening a bundle raises, StopRequested.
    """
    watched = _scored_job(session, job_id)
    bundle = _bundle_of(session, watched, home=home)
    now = _sketch(session, watched, bundle, should_stop=should_stop)
    if not now.documents:
        raise Conflict(
            f"The bundle learned from every document that job {job_id} scored.",
            hint="Compare a job that scored documents outside the bundle's training and validation splits.",
        )
    reference = _reference(session, watched, bundle, home=home, against=against, should_stop=should_stop)
    drift = compare_sketches(
        bundle.labels,
        now,
        reference.sketch,
        flips=find_flips(session, job_id, should_stop=should_stop),
        same_scores=reference.same_scores,
    )
    left_out = watched.documents_predicted - now.documents
    return Measured(job_id=job_id, reference=reference, drift=drift, left_out=left_out)


def _scored_job(session: Session, job_id: int) -> Job:
    found = session.get(Job, job_id)
    if found is None:
        raise NotFound(f"There is no job {job_id}.", hint="See all jobs with: postq status.")
    if found.kind is not JobKind.CLASSIFY:
        raise BadInput(
            f"Job {job_id} is of kind '{found.kind}', not a classification.",
            hint="Name a job of `postq classify-corpus` or of a schedule; see them with: postq status.",
        )
    if found.state not in JOB_SUCCEEDED:
        raise Conflict(
            f"Job {job_id} is {found.state}; drift can be measured once it has succeeded.",
            hint=f"Wait for it with: postq status {job_id} --watch.",
        )
    if not found.documents_predicted:
        raise Conflict(
            f"Job {job_id} scored no document, so there is nothing to compare.",
            hint="Name a job that scored some; see them with: postq status.",
        )
    return found


def _bundle_of(session: Session, of: Job, *, home: Path) -> Bundle:
    row = session.get_one(BundleRow, of.bundle_id)
    return open_bundle(home / row.path, expected_digest=row.digest)


def _sketch(session: Session, of: Job, bundle: Bundle, *, should_stop: Callable[[], bool]) -> Sketch:
    learned = frozenset(entry.content_hash for entry in read_split(bundle.path) if entry.split != "test")
    assert of.id is not None
    return sketch_job(
        session, of.id, decision=bundle.thresholds.decision, without=learned, should_stop=should_stop
    )


def _reference(
    session: Session,
    watched: Job,
    bundle: Bundle,
    *,
    home: Path,
    against: str | None,
    should_stop: Callable[[], bool],
) -> Reference:
    if against is None:
        for earlier in _earlier_runs(session, watched):
            found = _of_job(session, earlier, watched, bundle, home=home, should_stop=should_stop)
            if found.sketch.documents >= FEWEST_FOR_PSI:
                return found
        return _of_bundle(session.get_one(BundleRow, watched.bundle_id), watched, bundle, home=home)
    match = _JOB.fullmatch(against)
    if match is None:
        row = resolve_bundle(session, against.removeprefix("bundle:"))
        return _of_bundle(row, watched, bundle, home=home)
    other = _scored_job(session, int(match[1]))
    if other.id == watched.id:
        raise BadInput(
            f"Job {watched.id} cannot be compared with itself.", hint="Name another one with --against."
        )
    found = _of_job(session, other, watched, bundle, home=home, should_stop=should_stop)
    if not found.sketch.documents:
        raise Conflict(
            f"The bundle of job {other.id} learned from every document it scored.",
            hint="Compare with another job, or with a bundle.",
        )
    return found


def _earlier_runs(session: Session, watched: Job) -> list[Job]:
    """Of the same schedule and fingerprint, with enough documents, newest first."""
    if watched.schedule_id is None:
        return []
    query = sa.select(Job).where(
        col(Job.schedule_id) == watched.schedule_id,
        col(Job.id) < watched.id,
        col(Job.state).in_(JOB_SUCCEEDED),
        col(Job.fingerprint) == watched.fingerprint,
        col(Job.documents_predicted) >= FEWEST_FOR_PSI,
    )
    return list(session.scalars(query.order_by(col(Job.id).desc()).limit(LOOKED_BACK)))


def _of_job(
    session: Session,
    other: Job,
    watched: Job,
    bundle: Bundle,
    *,
    home: Path,
    should_stop: Callable[[], bool],
) -> Reference:
    same = other.fingerprint == watched.fingerprint
    theirs = bundle if same else _bundle_of(session, other, home=home)
    _require_labels(theirs, bundle)
    found = _sketch(session, other, theirs, should_stop=should_stop)
    return Reference(
        name=f"job {other.id}",
        job_id=other.id,
        bundle_id=other.bundle_id or 0,
        sketch=found,
        same_scores=same,
    )


def _of_bundle(row: BundleRow, watched: Job, bundle: Bundle, *, home: Path) -> Reference:
    same = row.fingerprint == watched.fingerprint
    theirs = bundle if same else open_bundle(home / row.path, expected_digest=row.digest)
    _require_labels(theirs, bundle)
    parts = read_scores(theirs.path)
    found = next(
        (
            (split, parts["main", split])
            for split in ("test", "validation", "tuning")
            if ("main", split) in parts
        ),
        None,
    )
    if found is None:
        raise Conflict(
            f"Bundle {row.id} keeps no scores to compare with.",
            hint="Name an earlier classification with --against JOB.",
        )
    return Reference(
        name=f"the stored {found[0]} scores of bundle {row.id}",
        job_id=None,
        bundle_id=row.id or 0,
        sketch=sketch(found[1].scores, theirs.thresholds.decision),
        same_scores=same,
    )


def _require_labels(theirs: Bundle, ours: Bundle) -> None:
    if theirs.labels != ours.labels:
        raise LabelSetMismatch(
            f"'{theirs.name}' predicts {counted(len(theirs.labels), 'label')}, "
            f"'{ours.name}' {len(ours.labels)}, and they are not the same in the same order.",
            hint="Compare jobs and bundles of one label set.",
        )
