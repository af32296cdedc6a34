"""Labels of a finished classification recomputed with other thresholds: a new job, done without a device."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.contracts.scoring import DocumentFailure
from postq.contracts.specs import JobKind
from postq.counted import counted
from postq.db import insert_if_absent
from postq.errors import BadInput, Conflict, IntegrityError, NotFound
from postq.jobs.commit import StoredCounts, commit
from postq.jobs.events import EventLine, write_event
from postq.jobs.finish import settle
from postq.jobs.leases import Lease, lease_of
from postq.jobs.states import JOB_SUCCEEDED, move_jobs, move_shards
from postq.jobs.submit import Submitted
from postq.learning.thresholds.decision import Decision
from postq.models.attempt import AttemptOutcome
from postq.models.bundle import BundleRow
from postq.models.corpus import Corpus
from postq.models.job import Job, JobState
from postq.models.shard import ShardState
from postq.models.tables import attempt, job, prediction, quarantine, shard
from postq.predictions.stored import stored_batches
from postq.predictions.write import write_predictions, write_quarantine
from postq.settings import Settings

WORKER = "rethreshold"
"""Stands for the worker in attempts, since none took part."""
_REASON = "is labelled from stored scores"
_COPIED = ("corpus_id", "documents_total", "priority")


def require_finished_classification(session: Session, job_id: int) -> Job:
    """The job, when its labels can be recomputed. Raises NotFound, BadInput for another kind, Conflict."""
    found = session.get(Job, job_id, populate_existing=True)
    if found is None:
        raise NotFound(f"There is no job {job_id}.", hint="See all jobs with: postq status.")
    if found.kind is not JobKind.CLASSIFY:
        raise BadInput(
            f"Job {job_id} is of kind '{found.kind}', not a classification.",
            hint="Name a job of `postq classify-corpus`; see them with: postq status.",
        )
    if found.state not in JOB_SUCCEEDED:
        raise Conflict(
            f"Job {job_id} is {found.state}; labels can be recomputed once it has succeeded.",
            hint=f"Wait for it with: postq status {job_id} --watch.",
        )
    return found


def begin_relabelling(
    session: Session, source: Job, *, bundle: BundleRow, now: datetime, settings: Settings
) -> Submitted:
    """A new classification of `source`'s documents by `bundle`, its shards leased to `relabel_next`.

    The caller vouches that `bundle` is the same model. Should this process die half-way, the leases run out
    and workers score what is left: the job is an ordinary one. Asking again returns the first such job.
    Raises Conflict when `source` has these very thresholds or was forgotten since, IntegrityError when its
    rows and counts disagree.
    """
    assert source.id is not None
    if source.fingerprint == bundle.fingerprint:
        raise Conflict(
            f"Job {source.id} was labelled with these very thresholds.",
            hint="Choose another --method, or leave out --job.",
        )
    _keep_from_being_forgotten(
        session, source.id, hint="Name another one with --job; see them with: postq status."
    )
    _check(session, source)
    job_id = insert_if_absent(session, job, _row(session, source, bundle, now=now))
    if job_id is None:
        key = _key(source, bundle)
        known = session.scalars(sa.select(job.c.id).where(job.c.idempotency_key == key)).one()
        return Submitted(job_id=known, created=False)
    line = EventLine(job_id=job_id, type="job.state", to_state=JobState.READY, message=_REASON)
    write_event(session, line, now=now)
    _take_shards(session, source.id, job_id, bundle, now=now, settings=settings)
    settle(session, job_id, now=now, settings=settings)  # a source without shards
    return Submitted(job_id=job_id, created=True)


def relabel_next(
    session: Session,
    job_id: int,
    *,
    source_id: int,
    bundle_id: int,
    decision: Decision,
    now: datetime,
    settings: Settings,
) -> bool:
    """Label one shard by `decision` and prolong the leases of the rest; False when none is left.

    Each in a transaction of its own, so that on SQLite others can write in between.
    """
    ours = (shard.c.job_id == job_id, shard.c.owner == WORKER, shard.c.state == ShardState.LEASED)
    next_one = sa.select(shard.c.id).where(*ours).order_by(shard.c.start_row).limit(1)
    shard_id = session.scalar(next_one.with_for_update(skip_locked=True))
    if shard_id is None:
        return False
    until = now + timedelta(seconds=settings.lease_seconds)
    session.execute(sa.update(shard).where(*ours).values(lease_until=until))
    lease = lease_of(session, shard_id)
    bundle = session.get_one(BundleRow, bundle_id)

    def copy(session: Session, lease: Lease) -> StoredCounts:
        return _copy(session, source_id, lease, bundle=bundle, decision=decision)

    message = f"labels recomputed from the scores of job {source_id}"
    commit(session, lease, now=now, settings=settings, store=copy, message=message, whole=False)
    return True


def _key(source: Job, bundle: BundleRow) -> str:
    return f"rethreshold:{source.id}:{bundle.fingerprint.hex()}"


def _row(session: Session, source: Job, bundle: BundleRow, *, now: datetime) -> dict[str, Any]:
    corpus = session.get_one(Corpus, source.corpus_id)
    return {
        "kind": JobKind.CLASSIFY,
        "state": JobState.READY,
        "reason": _REASON,
        "spec": {**source.spec, "bundle": str(bundle.id)},
        "name": f"{corpus.name} v{corpus.version} with {bundle.name}",
        "idempotency_key": _key(source, bundle),
        "bundle_id": bundle.id,
        "fingerprint": bundle.fingerprint,
        "result": {"relabelled_from": source.id},
        "created_at": now,
        **{name: getattr(source, name) for name in _COPIED},
    }


def _take_shards(
    session: Session, source_id: int, job_id: int, bundle: BundleRow, *, now: datetime, settings: Settings
) -> None:
    """Lay the source's done shards for the new job and lease them.

    No worker can claim one in between, since nothing of this is committed yet.
    """
    done = sa.select(
        sa.literal(job_id),
        sa.literal(bundle.digest),
        sa.literal(now, shard.c.ready_at.type),
        sa.literal(ShardState.READY, shard.c.state.type),
        *(shard.c[name] for name in ("start_row", "stop_row", "priority")),
        *(sa.literal(value) for value in ("any", 0, 0, 0, 0, 1, "", 0, 0, 0, 0, 0, 0)),
    ).where(shard.c.job_id == source_id, shard.c.state == ShardState.DONE)
    zeros = ("device_kind", "memory_bytes", "token", "attempts", "crashes", "batch_divisor", "phase")
    more = ("progress_done", "progress_total", "checkpoint_step")
    counts = ("documents_predicted", "documents_quarantined", "documents_skipped")
    names = [
        "job_id",
        "sticky",
        "ready_at",
        "state",
        "start_row",
        "stop_row",
        "priority",
        *zeros,
        *more,
        *counts,
    ]
    session.execute(sa.insert(shard).from_select(names, done.order_by(shard.c.start_row)))
    move_shards(
        session,
        shard.c.job_id == job_id,
        source=ShardState.READY,
        target=ShardState.LEASED,
        now=now,
        message=WORKER,
        token=1,
        owner=WORKER,
        lease_until=now + timedelta(seconds=settings.lease_seconds),
    )
    move_jobs(
        session, job.c.id == job_id, source=JobState.READY, target=JobState.RUNNING, now=now, reason=WORKER
    )
    covered = sa.func.coalesce(sa.func.sum(shard.c.stop_row - shard.c.start_row), 0)
    within = sa.select(covered).where(shard.c.job_id == job_id).scalar_subquery()
    skipped = {"documents_skipped": job.c.documents_total - within}
    session.execute(sa.update(job).where(job.c.id == job_id).values(skipped))
    _open_attempts(session, job_id, now=now)


def _open_attempts(session: Session, job_id: int, *, now: datetime) -> None:
    columns = sa.select(
        shard.c.id,
        shard.c.job_id,
        shard.c.token,
        sa.literal(WORKER),
        sa.literal("none"),
        sa.literal(AttemptOutcome.RUNNING, attempt.c.outcome.type),
        sa.literal(now, attempt.c.started_at.type),
    ).where(shard.c.job_id == job_id)
    names = ["shard_id", "job_id", "token", "worker_id", "device", "outcome", "started_at"]
    session.execute(sa.insert(attempt).from_select(names, columns))


def _copy(
    session: Session,
    source_id: int,
    lease: Lease,
    *,
    bundle: BundleRow,
    decision: Decision,
) -> StoredCounts:
    """One shard's predictions, cut anew, and its quarantined documents as they are.

    Raises Conflict when `source_id` was forgotten meanwhile: its predictions are then on their way out.
    """
    assert bundle.id is not None
    hint = (
        f"Workers score what is left of job {lease.job_id} within a minute; see: postq status {lease.job_id}."
    )
    _keep_from_being_forgotten(session, source_id, hint=hint)
    written = 0
    for batch in stored_batches(session, source_id, start_row=lease.start_row, stop_row=lease.stop_row):
        written += write_predictions(
            session,
            job_id=lease.job_id,
            attempt_id=lease.attempt_id,
            bundle_id=bundle.id,
            fingerprint=bundle.fingerprint,
            labels=bundle.labels,
            decision=decision,
            batches=[batch.scored],
            document_hashes=batch.content_hashes,
        )
    apart = sa.select(quarantine.c.row, quarantine.c.error).where(
        quarantine.c.job_id == source_id,
        quarantine.c.row >= lease.start_row,
        quarantine.c.row < lease.stop_row,
    )
    failures = [DocumentFailure(row=row, error=error) for row, error in session.execute(apart)]
    quarantined = write_quarantine(
        session, job_id=lease.job_id, attempt_id=lease.attempt_id, failures=failures
    )
    return StoredCounts(predicted=written, quarantined=quarantined)


def _keep_from_being_forgotten(session: Session, source_id: int, *, hint: str) -> None:
    """Hold the source's row until the transaction ends, so that its predictions cannot be swept away."""
    held = sa.select(job.c.id).where(job.c.id == source_id).with_for_update(read=True, key_share=True)
    if session.scalar(held) is None:
        raise Conflict(
            f"Job {source_id} was forgotten while its labels were recomputed.",
            hint=hint,
        )


def _check(session: Session, source: Job) -> None:
    """Nothing of the source is lost or doubled."""
    said = (source.documents_predicted, source.documents_quarantined)
    stored = tuple(
        session.execute(sa.select(sa.func.count()).where(table.c.job_id == source.id)).scalar_one()
        for table in (prediction, quarantine)
    )
    if stored != said:
        raise IntegrityError(
            f"Job {source.id} counts {said[0]:,} as predicted and {said[1]:,} as quarantined, but "
            f"{counted(stored[0], 'prediction')} and {counted(stored[1], 'quarantined document')} "
            "are stored.",
            hint="Nothing was written; classify the corpus with the new bundle instead.",
        )
