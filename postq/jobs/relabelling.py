"""Labels of a finished classification recomputed with other thresholds: a new job that is done at once."""

from datetime import datetime
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from postq.contracts.specs import JobKind
from postq.db import insert_if_absent
from postq.errors import BadInput, Conflict, IntegrityError, NotFound
from postq.jobs.events import EventLine, write_event
from postq.jobs.finish import settle
from postq.jobs.states import JOB_SUCCEEDED, move_jobs, move_shards
from postq.jobs.submit import Submitted
from postq.models.attempt import AttemptOutcome
from postq.models.bundle import BundleRow
from postq.models.corpus import Corpus
from postq.models.job import Job, JobState
from postq.models.shard import ShardState
from postq.models.tables import attempt, job, prediction, quarantine, shard
from postq.predictions.stored import stored_batches
from postq.predictions.write import write_predictions
from postq.settings import Settings

WORKER = "rethreshold"
"""Stands for the worker in attempts, since none took part."""
_COPIED = ("corpus_id", "documents_total", "documents_predicted", "documents_quarantined", "priority")


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


def relabel_job(
    session: Session,
    source: Job,
    *,
    bundle: BundleRow,
    thresholds: NDArray[np.float64],
    now: datetime,
    settings: Settings,
) -> Submitted:
    """A new, finished classification with `source`'s scores cut by `bundle`'s (labels,) thresholds.

    It has the same shards, documents and quarantine as `source` and its own rows, all written in the
    caller's transaction, so that it is there whole or not at all. The caller vouches that `bundle` is the
    same model. Asking again returns the first such job. Raises Conflict when `source` has these very
    thresholds, IntegrityError when stored rows and counts disagree.
    """
    assert source.id is not None
    if source.fingerprint == bundle.fingerprint:
        raise Conflict(
            f"Job {source.id} was labelled with these very thresholds.",
            hint="Choose another --method, or leave out --job.",
        )
    job_id = insert_if_absent(session, job, _row(session, source, bundle, now=now))
    if job_id is None:
        key = _key(source, bundle)
        known = session.scalars(sa.select(job.c.id).where(job.c.idempotency_key == key)).one()
        return Submitted(job_id=known, created=False)
    line = EventLine(job_id=job_id, type="job.state", to_state=JobState.READY, message="relabelled at once")
    write_event(session, line, now=now)
    attempts = _take_shards(session, source.id, job_id, bundle, now=now)
    for (start, stop), attempt_id in attempts.items():
        _copy(session, source, job_id, attempt_id, bundle, thresholds, rows=(start, stop))
    _check(session, source, job_id)
    _finish(session, source.id, job_id, now=now, settings=settings)
    return Submitted(job_id=job_id, created=True)


def _key(source: Job, bundle: BundleRow) -> str:
    return f"rethreshold:{source.id}:{bundle.fingerprint.hex()}"


def _row(session: Session, source: Job, bundle: BundleRow, *, now: datetime) -> dict[str, Any]:
    corpus = session.get_one(Corpus, source.corpus_id)
    return {
        "kind": JobKind.CLASSIFY,
        "state": JobState.READY,
        "reason": "relabelled at once",
        "spec": {**source.spec, "bundle": str(bundle.id)},
        "name": f"{corpus.name} v{corpus.version} with {bundle.name}",
        "idempotency_key": _key(source, bundle),
        "bundle_id": bundle.id,
        "fingerprint": bundle.fingerprint,
        "documents_skipped": source.documents_skipped,
        "result": {"relabelled_from": source.id},
        "created_at": now,
        **{name: getattr(source, name) for name in _COPIED},
    }


def _take_shards(
    session: Session, source_id: int, job_id: int, bundle: BundleRow, *, now: datetime
) -> dict[tuple[int, int], int]:
    """Lay the source's done shards for the new job and lease them; their attempt by (start, stop) row.

    No worker can claim one in between, since nothing of this is committed yet.
    """
    counts = ("documents_predicted", "documents_quarantined", "documents_skipped")
    copied = ("start_row", "stop_row", "priority", *counts)
    done = sa.select(
        sa.literal(job_id),
        sa.literal(bundle.digest),
        sa.literal(now, shard.c.ready_at.type),
        sa.literal(ShardState.READY, shard.c.state.type),
        *(shard.c[name] for name in copied),
        *(sa.literal(value) for value in ("any", 0, 0, 0, 0, 1, "", 0, 0, 0)),
    ).where(shard.c.job_id == source_id, shard.c.state == ShardState.DONE)
    zeros = ("device_kind", "memory_bytes", "token", "attempts", "crashes", "batch_divisor", "phase")
    more = ("progress_done", "progress_total", "checkpoint_step")
    names = ["job_id", "sticky", "ready_at", "state", *copied, *zeros, *more]
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
        lease_until=now,
    )
    move_jobs(
        session, job.c.id == job_id, source=JobState.READY, target=JobState.RUNNING, now=now, reason=WORKER
    )
    return _open_attempts(session, job_id, now=now)


def _open_attempts(session: Session, job_id: int, *, now: datetime) -> dict[tuple[int, int], int]:
    query = sa.select(shard.c.id, shard.c.start_row, shard.c.stop_row).where(shard.c.job_id == job_id)
    shards = session.execute(query.order_by(shard.c.start_row)).all()
    common = {"job_id": job_id, "token": 1, "worker_id": WORKER, "device": "none"}
    ended = {"outcome": AttemptOutcome.COMMITTED, "started_at": now, "ended_at": now}
    if shards:
        session.execute(sa.insert(attempt), [{"shard_id": one.id, **common, **ended} for one in shards])
    found = session.execute(
        sa.select(attempt.c.shard_id, attempt.c.id).where(attempt.c.job_id == job_id)
    ).all()
    by_shard: dict[int, int] = dict(found)
    return {(one.start_row, one.stop_row): by_shard[one.id] for one in shards}


def _copy(
    session: Session,
    source: Job,
    job_id: int,
    attempt_id: int,
    bundle: BundleRow,
    thresholds: NDArray[np.float64],
    *,
    rows: tuple[int, int],
) -> None:
    """One shard's predictions, cut anew, and its quarantined documents as they are."""
    assert source.id is not None
    assert bundle.id is not None
    start, stop = rows
    for batch in stored_batches(session, source.id, start_row=start, stop_row=stop):
        write_predictions(
            session,
            job_id=job_id,
            attempt_id=attempt_id,
            bundle_id=bundle.id,
            fingerprint=bundle.fingerprint,
            labels=bundle.labels,
            thresholds=thresholds,
            batches=[batch.scored],
            document_hashes=batch.content_hashes,
        )
    set_apart = sa.select(
        sa.literal(job_id), quarantine.c.row, sa.literal(attempt_id), quarantine.c.error
    ).where(quarantine.c.job_id == source.id, quarantine.c.row >= start, quarantine.c.row < stop)
    session.execute(sa.insert(quarantine).from_select(["job_id", "row", "attempt_id", "error"], set_apart))


def _check(session: Session, source: Job, job_id: int) -> None:
    """Nothing of the source was lost or doubled."""
    counted = (source.documents_predicted, source.documents_quarantined)
    written = tuple(
        session.execute(sa.select(sa.func.count()).where(table.c.job_id == job_id)).scalar_one()
        for table in (prediction, quarantine)
    )
    if written != counted:
        raise IntegrityError(
            f"Job {source.id} counts {counted[0]} predictions and {counted[1]} quarantined documents, but "
            f"{written[0]} and {written[1]} are stored.",
            hint="Nothing was written; classify the corpus with the new bundle instead.",
        )


def _finish(session: Session, source_id: int, job_id: int, *, now: datetime, settings: Settings) -> None:
    move_shards(
        session,
        shard.c.job_id == job_id,
        source=ShardState.LEASED,
        target=ShardState.DONE,
        now=now,
        message=f"labels recomputed from the scores of job {source_id}",
        progress_at=now,
    )
    settle(session, job_id, now=now, settings=settings)
