"""Submitting: the job, its shards and its first events in one transaction of the caller."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.orm import Session

from postq.contracts.specs import JobSpec, Requirements, TrainSpec, job_spec
from postq.db import insert_if_absent
from postq.errors import Conflict
from postq.jobs.checks import Start, check_bundle, check_corpus, check_start, without_effect
from postq.jobs.events import EventLine, write_event
from postq.jobs.planning import Plan, plan_job
from postq.jobs.starting import start_plan
from postq.models.corpus import Corpus
from postq.models.job import JobState
from postq.models.tables import job
from postq.registry.references import job_of_reference
from postq.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """The job a submit led to; `created` is False when the key had been used before."""

    job_id: int
    created: bool
    note: str = ""
    """What was asked for in vain, in one sentence."""


def submit(
    session: Session,
    spec: JobSpec,
    *,
    now: datetime,
    settings: Settings,
    requirements: Requirements | None = None,
    priority: int = 100,
    after_job_id: int | None = None,
    after_any: bool = False,
    idempotency_key: str | None = None,
    schedule_id: int | None = None,
) -> Submitted:
    """Record the job durably: once the caller's transaction commits, it will be done or say why not.

    With a key used before, the job of that key is returned. Raises NotFound (corpus, bundle, job),
    NotTrainable, LabelSetMismatch, or Conflict (same key but other terms; a predecessor that failed).
    """
    needs = requirements or Requirements()
    asked = _Asked(spec=spec, needs=needs, after_job_id=after_job_id, priority=priority, after_any=after_any)
    known = _job_of_key(session, idempotency_key, asked)
    if known is not None:
        return known
    corpus = check_corpus(session, spec)
    start = check_start(session, spec, after_job_id=after_job_id, after_any=after_any)
    bundle = check_bundle(session, spec, corpus, blocked=start.blocked)
    plan = None if start.blocked else plan_job(session, spec, settings=settings)
    row = {
        **_facts(spec, corpus, needs, start, plan),
        "priority": priority,
        "after_any": after_any,
        "idempotency_key": idempotency_key,
        "spec_digest": asked.digest,
        "schedule_id": schedule_id,
        "created_at": now,
    }
    job_id = insert_if_absent(session, job, row)
    if job_id is None:
        return _winner(session, idempotency_key, asked)
    _tell_created(session, job_id, str(row["state"]), str(row["reason"]), now=now)
    if plan is not None:
        start_plan(session, job_id, plan, now=now)
    return Submitted(job_id=job_id, created=True, note=without_effect(spec, bundle))


def _facts(
    spec: JobSpec, corpus: Corpus, needs: Requirements, start: Start, plan: Plan | None
) -> dict[str, object]:
    title = f"{corpus.name} v{corpus.version}"
    return {
        "kind": spec.kind,
        "state": JobState.BLOCKED if plan is None else JobState.READY,
        "reason": start.waits_for if plan is None else plan.reason,
        "spec": spec.model_dump(mode="json"),
        "name": f"{spec.bundle_name} on {title}"
        if isinstance(spec, TrainSpec)
        else f"{title} with {spec.bundle}",
        "device_kind": needs.device_kind,
        "memory_bytes": needs.memory_bytes,
        "after_job_id": start.after_job_id,
        "corpus_id": spec.corpus_id,
        **({"documents_total": corpus.documents} if plan is None else plan.pinned),
    }


def _tell_created(session: Session, job_id: int, state: str, reason: str, *, now: datetime) -> None:
    line = EventLine(job_id=job_id, type="job.state", to_state=state, message=reason)
    write_event(session, line, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a key stands for: submitted again with it, it is the same job."""

    spec: JobSpec
    needs: Requirements
    after_job_id: int | None
    priority: int
    after_any: bool

    @property
    def digest(self) -> str:
        """Of what is to be done and where; when is in columns of its own, which databases have always had."""
        facts = [self.spec.model_dump(mode="json"), self.needs.model_dump(mode="json"), self.after_job_id]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def differs_from(self, row: sa.Row[Any]) -> str:
        """In what the job of `row` was asked for otherwise, in words; empty when it is the same."""
        if not self._is_of(row):
            return "other contents"
        if row.priority != self.priority:
            return f"priority {row.priority} instead of {self.priority}"
        return "another rule for when it starts" if row.after_any != self.after_any else ""

    def _is_of(self, row: sa.Row[Any]) -> bool:
        """Whether the job of `row` is to do the same under the same conditions.

        Where the digests differ the stored spec decides: a job from before an option was known asked for what
        is that option's default now.
        """
        if row.spec_digest == self.digest:
            return True
        try:
            stored = job_spec.validate_python(row.spec)
            needs = Requirements(device_kind=row.device_kind, memory_bytes=row.memory_bytes)
        except ValidationError:
            return False
        return (stored, needs) == (self.spec, self.needs) and row.after_job_id in self._waits_for

    @property
    def _waits_for(self) -> tuple[int | None, ...]:
        """The job asked for; where none was, the one that makes the bundle counts as asked for too."""
        if self.after_job_id is not None or isinstance(self.spec, TrainSpec):
            return (self.after_job_id,)
        return None, job_of_reference(self.spec.bundle)


def _winner(session: Session, key: str | None, asked: _Asked) -> Submitted:
    won = _job_of_key(session, key, asked)
    if won is None:
        raise Conflict("The job could not be recorded.", hint="Submit again.")
    return won


def _job_of_key(session: Session, key: str | None, asked: _Asked) -> Submitted | None:
    if key is None:
        return None
    told = (
        "id",
        "spec_digest",
        "spec",
        "device_kind",
        "memory_bytes",
        "after_job_id",
        "priority",
        "after_any",
    )
    row = session.execute(
        sa.select(*(job.c[name] for name in told)).where(job.c.idempotency_key == key)
    ).first()
    if row is None:
        return None
    if difference := asked.differs_from(row):
        raise Conflict(
            f"The key '{key}' was used for job {row.id} with {difference}.",
            hint="Use a new --idempotency-key, or submit exactly the same as before.",
        )
    return Submitted(job_id=row.id, created=False)
