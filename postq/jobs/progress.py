"""How far a job is and how fast it goes, from its rows and the shards ended lately."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from postq.contracts.specs import JobKind
from postq.jobs.reasons import ShardFacts
from postq.jobs.states import JOB_TERMINAL
from postq.jobs.views import DocumentCounts, ProgressView
from postq.models.job import Job
from postq.models.shard import Shard, ShardState

WINDOW = timedelta(minutes=5)
"""A rate is that of the last five minutes, so that it follows workers that come and go."""
RATE = "documents_per_second"
"""The figure by which a runner tells how fast its phase goes."""


def document_counts(found: Job) -> DocumentCounts:
    """The counters of a job's row."""
    return DocumentCounts(
        total=found.documents_total,
        predicted=found.documents_predicted,
        quarantined=found.documents_quarantined,
        skipped=found.documents_skipped,
    )


def progress_of(
    found: Job,
    shards: Mapping[ShardState, ShardFacts],
    *,
    current: Shard | None,
    recently_done: int,
    waiting: bool,
    now: datetime,
) -> ProgressView:
    """Progress of any kind of job.

    `current` is the one shard of a training or evaluation; `recently_done` the documents of shards that
    ended within WINDOW. While a job is `waiting` for a worker nothing has a rate, and a training or
    evaluation has no phase: how far its last attempt was says nothing about the next one.
    """
    if found.kind is JobKind.CLASSIFY:
        told = _of_documents(found, shards, recently_done=recently_done, now=now)
        return replace(told, per_second=None, eta_seconds=None) if waiting else told
    if waiting:
        return ProgressView(done=0, total=0, unit="job")
    if current is None:
        return ProgressView(done=int(found.state in JOB_TERMINAL), total=1, unit="job")
    return _of_phase(current)


def _of_phase(current: Shard) -> ProgressView:
    """A training or evaluation in the runner's own words; its rate only while it is being worked on."""
    figures = dict(current.progress_metrics or {})
    told = figures.pop(RATE, None)
    rate = float(told) if told and current.state is ShardState.LEASED else None
    left = current.progress_total - current.progress_done
    return ProgressView(
        done=current.progress_done,
        total=current.progress_total,
        unit=current.phase or "job",
        per_second=rate,
        eta_seconds=left / rate if rate else None,
        metrics=figures,
    )


def _of_documents(
    found: Job, shards: Mapping[ShardState, ShardFacts], *, recently_done: int, now: datetime
) -> ProgressView:
    counts = document_counts(found)
    under_way = shards[ShardState.LEASED].progress_done if ShardState.LEASED in shards else 0
    done = min(counts.total, counts.accounted + under_way)
    rate = _rate(found, counts, recently_done + under_way, now)
    left = counts.total - done
    eta = left / rate if rate and found.state not in JOB_TERMINAL else None
    return ProgressView(done=done, total=counts.total, unit="documents", per_second=rate, eta_seconds=eta)


def _rate(found: Job, counts: DocumentCounts, recent: int, now: datetime) -> float | None:
    if found.started_at is None:
        return None
    if found.finished_at is not None:
        seconds = (found.finished_at - found.started_at).total_seconds()
        done = counts.predicted + counts.quarantined
    else:
        seconds = min(WINDOW, now - found.started_at).total_seconds()
        done = recent
    return done / seconds if done and seconds > 0 else None
