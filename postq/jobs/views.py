"""What a person is shown of jobs: frozen records, the same for a table, a live display and JSON."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from postq.contracts.specs import JobKind
from postq.models.job import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentCounts:
    """A classification's documents; those not counted yet are still to be done."""

    total: int
    predicted: int
    quarantined: int
    skipped: int
    """Scored before with the same content and fingerprint."""

    @property
    def accounted(self) -> int:
        """Documents that need nothing more."""
        return self.predicted + self.quarantined + self.skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressView:
    """How far a job is, in its own unit."""

    done: int
    total: int
    unit: str
    """`documents`, or the phase of a training or evaluation, such as `training`."""
    per_second: float | None = None
    eta_seconds: float | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    """The newest figures of the running shard, such as the loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """One worker's try at one shard."""

    id: int
    shard_id: int
    token: int
    worker_id: str
    hostname: str | None
    device: str
    outcome: str
    failure: str | None
    message: str | None
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """One job as it stands; `attempts` is filled for a single job only, newest first."""

    id: int
    kind: JobKind
    state: JobState
    reason: str
    """Why it is in its state, in one sentence, as of now."""
    waiting: bool
    """Running by its state, but no worker is on it: between attempts, or its worker is gone."""
    name: str
    priority: int
    spec: dict[str, Any]
    corpus_id: int
    bundle_id: int | None
    fingerprint: str | None
    """Hexadecimal."""
    after_job_id: int | None
    schedule: str | None
    """Name of the schedule that submitted it."""
    device_kind: str
    memory_bytes: int
    cancel_requested: bool
    documents: DocumentCounts
    progress: ProgressView
    shards: dict[str, int]
    """Shards by state; empty for ended jobs in listings."""
    retries: int
    """Failed, lost and fenced attempts so far; 0 in listings."""
    workers: tuple[str, ...]
    """`host device` of the workers on it right now."""
    result: dict[str, Any] | None
    error: str | None
    hint: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    worked_seconds: float | None = None
    """How long at least one worker was on it, by its attempts; None in listings."""
    attempts: tuple[AttemptView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """One line of a job's history."""

    id: int
    job_id: int
    shard_id: int | None
    token: int | None
    at: datetime
    type: str
    from_state: str | None
    to_state: str | None
    message: str
    data: dict[str, Any] | None
