"""Firing schedules: each due slot becomes one job, or one line saying why it did not, in one transaction."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice, takewhile

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session
from sqlmodel import col

from postq.contracts.specs import ClassifySpec, Requirements
from postq.db import insert_if_absent, storable
from postq.errors import BadInput, Conflict, PostqError
from postq.jobs.cancel import cancel
from postq.jobs.maintenance import Counts
from postq.jobs.slots import newest_slot, next_slot, slots_after
from postq.jobs.states import JOB_TERMINAL
from postq.jobs.submit import submit
from postq.models.job import Job, JobState
from postq.models.schedule import Fire, MissedPolicy, OverlapPolicy, Schedule
from postq.models.tables import fire as fire_table
from postq.models.tables import schedule as table
from postq.registry.corpora import resolve_corpus
from postq.settings import Settings

_log = structlog.get_logger()

ON_TIME = timedelta(minutes=5)
"""A slot fired later than this was missed."""
SLOTS_AT_ONCE = 100
"""Most slots of one schedule that one pass fires under the policy `all`; the next pass goes on."""


def fire_due_schedules(session: Session, *, now: datetime, settings: Settings) -> Counts:
    """Fire every schedule whose next slot has come. Any number of workers may do this at once: the unique
    (schedule, slot) lets one of them win. One that cannot be fired does not hold up the others.
    """
    due = (
        sa.select(Schedule)
        .where(
            col(Schedule.next_slot) <= now,
            col(Schedule.paused).is_(False),
            col(Schedule.removed_at).is_(None),
        )
        .order_by(col(Schedule.id))
        .with_for_update(skip_locked=True)
        .execution_options(populate_existing=True)
    )
    fired = 0
    for found in session.scalars(due).all():
        try:
            with session.begin_nested():
                fired += _fire(session, found, now=now, settings=settings)
        except BadInput as exc:  # a zone that this machine does not know; another may
            _log.warning("A schedule cannot be fired here.", schedule=found.name, reason=exc.message)
    return Counts(changed=fired)


def _fire(session: Session, of: Schedule, *, now: datetime, settings: Settings) -> int:
    return sum(
        _fire_slot(session, of, slot, outcome, now=now, settings=settings)
        for slot, outcome in _due_slots(of, now)
    )


def submit_fire(
    session: Session,
    of: Schedule,
    *,
    slot: datetime,
    now: datetime,
    settings: Settings,
    outcome: str = "manual",
    after_job_id: int | None = None,
) -> Fire:
    """Record the fire and submit its job: score what has no prediction yet.

    Raises what resolving the corpus and submitting raise.
    """
    made = submit(
        session,
        _spec(session, of),
        now=now,
        settings=settings,
        requirements=Requirements.model_validate(
            {"device_kind": of.device_kind, "memory_bytes": of.memory_bytes}
        ),
        priority=of.priority,
        after_job_id=after_job_id,
        after_any=after_job_id is not None,
        schedule_id=of.id,
    )
    row = {"schedule_id": of.id, "slot": slot, "job_id": made.job_id, "outcome": outcome, "fired_at": now}
    fire_id = insert_if_absent(session, fire_table, row)
    if fire_id is None:
        session.execute(sa.update(fire_table).where(*_slot_of(of, slot)).values(job_id=made.job_id))
    return session.scalars(
        sa.select(Fire).where(col(Fire.schedule_id) == of.id, col(Fire.slot) == slot)
    ).one()


def _due_slots(of: Schedule, now: datetime) -> Iterator[tuple[datetime, str]]:
    """Slots to deal with in this pass, ascending, each with the outcome it gets if all goes well."""
    first = of.next_slot
    if first is None:
        return
    if of.missed is MissedPolicy.ALL:
        yield first, "fired"
        later = takewhile(lambda slot: slot <= now, slots_after(of.cron, of.timezone, first))
        for slot in islice(later, SLOTS_AT_ONCE - 1):
            yield slot, "fired"
        return
    newest = newest_slot(of.cron, of.timezone, first=first, now=now)
    missed = now - newest > ON_TIME
    if of.missed is MissedPolicy.SKIP:
        if missed:
            yield newest, "skipped: missed"
            return
        if first < newest:
            yield first, "skipped: missed"
    yield newest, "fired"


def _fire_slot(
    session: Session, of: Schedule, slot: datetime, outcome: str, *, now: datetime, settings: Settings
) -> int:
    row = {"schedule_id": of.id, "slot": slot, "outcome": outcome, "fired_at": now}
    won = insert_if_absent(session, fire_table, row) is not None
    if won and outcome == "fired":
        outcome = _try_to_submit(session, of, slot, now=now, settings=settings)
        session.execute(sa.update(fire_table).where(*_slot_of(of, slot)).values(outcome=outcome))
    _advance(session, of, slot, now=now)
    return int(won and outcome.startswith("fired"))


def _try_to_submit(
    session: Session, of: Schedule, slot: datetime, *, now: datetime, settings: Settings
) -> str:
    before = _unfinished_jobs(session, of)
    if before and of.overlap is OverlapPolicy.SKIP:
        return f"skipped: overlap with job {before[-1]}"
    try:
        with session.begin_nested():
            if of.overlap is OverlapPolicy.CANCEL_OLD:
                before = _cancel_all(session, of, before, now=now, settings=settings)
            last = before[-1] if before else None
            submit_fire(session, of, slot=slot, now=now, settings=settings, after_job_id=last)
    except PostqError as exc:
        return storable(f"failed: {exc.message} {exc.hint}")
    return "fired"


def _advance(session: Session, of: Schedule, slot: datetime, *, now: datetime) -> None:
    """Move the schedule past the slot; without the policy `all`, past everything up to now."""
    past = slot if of.missed is MissedPolicy.ALL else max(slot, now)
    session.execute(
        sa.update(table)
        .where(table.c.id == of.id, table.c.next_slot <= slot)
        .values(next_slot=next_slot(of.cron, of.timezone, past))
    )


def _spec(session: Session, of: Schedule) -> ClassifySpec:
    return ClassifySpec.model_validate(
        {
            "corpus_id": _corpus_id(session, of),
            "bundle": of.bundle,
            "only_new": True,
            "max_tokens_per_batch": of.max_tokens_per_batch,
            "precision": of.precision,
        }
    )


def _corpus_id(session: Session, of: Schedule) -> int:
    corpus_id = resolve_corpus(session, of.corpus).id
    if corpus_id is None:
        raise RuntimeError("a stored corpus has a number")
    return corpus_id


def _cancel_all(
    session: Session, of: Schedule, jobs: Sequence[int], *, now: datetime, settings: Settings
) -> list[int]:
    """Those of the jobs that are still stopping."""
    stopping = []
    for job_id in jobs:
        with suppress(Conflict):  # it ended since it was looked up: nothing is left to cancel
            reason = f"schedule {of.name} fired again"
            state = cancel(session, job_id, now=now, settings=settings, reason=reason)
            stopping += [] if state in JOB_TERMINAL else [job_id]
    return stopping


def _unfinished_jobs(session: Session, of: Schedule) -> list[int]:
    """Numbers of its jobs that have not ended, the one to wait for last: one that waits for others itself,
    or else the oldest, so that a run asked for in between is not all that is waited for.
    """
    unfinished = sa.select(col(Job.id), col(Job.state)).where(
        col(Job.schedule_id) == of.id, col(Job.state).not_in(JOB_TERMINAL)
    )
    rows = session.execute(unfinished).all()
    waiting = sorted(row.id for row in rows if row.state is JobState.BLOCKED)
    return [*sorted((row.id for row in rows if row.state is not JobState.BLOCKED), reverse=True), *waiting]


def _slot_of(of: Schedule, slot: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return fire_table.c.schedule_id == of.id, fire_table.c.slot == slot
