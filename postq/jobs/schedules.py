"""Schedules: recurring classifications of what is new; kept by people, fired by any worker, once a slot."""

from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import col

from postq.contracts.recipes import Precision
from postq.contracts.specs import Requirements
from postq.db import insert_if_absent
from postq.errors import BadInput, Conflict, NotFound
from postq.jobs.firing import submit_fire
from postq.jobs.slots import next_slot
from postq.models.job import JobState
from postq.models.schedule import Fire, MissedPolicy, OverlapPolicy, Schedule
from postq.models.tables import job
from postq.models.tables import schedule as table
from postq.registry.corpora import hold_corpus
from postq.registry.references import hold_bundle
from postq.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleView:
    """A schedule, the latest slot that was dealt with, and the state its job is in now."""

    schedule: Schedule
    last_fire: Fire | None = None
    last_state: JobState | None = None


def add_schedule(
    session: Session,
    *,
    name: str,
    cron: str,
    timezone: str,
    corpus: str,
    bundle: str,
    now: datetime,
    requirements: Requirements | None = None,
    priority: int = 100,
    max_tokens_per_batch: int | None = None,
    precision: Precision | None = None,
    missed: MissedPolicy = MissedPolicy.COALESCE,
    overlap: OverlapPolicy = OverlapPolicy.SKIP,
) -> Schedule:
    """Record a schedule; the name of a removed one may be used again and keeps its history.

    Raises BadInput for a wrong expression or zone or an empty name, NotFound for the corpus or bundle, and
    Conflict for a name in use.
    """
    if not name.strip():
        raise BadInput("The schedule has no name.", hint="Give it one, such as nightly.")
    hold_corpus(session, corpus)
    hold_bundle(session, bundle)
    values = {
        "cron": cron,
        "timezone": timezone,
        "corpus": corpus,
        "bundle": bundle,
        **(requirements or Requirements()).model_dump(),
        "priority": priority,
        "max_tokens_per_batch": max_tokens_per_batch,
        "precision": precision,
        "missed": missed,
        "overlap": overlap,
        "paused": False,
        "next_slot": next_slot(cron, timezone, now),
        "created_at": now,
        "removed_at": None,
    }
    if insert_if_absent(session, table, {"name": name, **values}) is None:
        _take_over(session, name, values)
    return _named(session, name)


def list_schedules(session: Session) -> list[ScheduleView]:
    """Every schedule that was not removed, by name, with its latest fire."""
    found = session.scalars(
        sa.select(Schedule).where(col(Schedule.removed_at).is_(None)).order_by(col(Schedule.name))
    )
    return [_view(session, row) for row in found]


def pause_schedule(session: Session, name: str) -> Schedule:
    """Stop firing until resumed. Raises NotFound."""
    return _change(session, name, paused=True)


def resume_schedule(session: Session, name: str, *, now: datetime) -> Schedule:
    """Fire again from the next slot on; slots passed while paused do not count as missed. Raises NotFound."""
    found = _named(session, name)
    if not found.paused:
        return found
    return _change(session, name, paused=False, next_slot=next_slot(found.cron, found.timezone, now))


def remove_schedule(session: Session, name: str, *, now: datetime) -> None:
    """Fire no more; jobs already submitted go on. Raises NotFound."""
    _change(session, name, removed_at=now, next_slot=None)


def run_now(session: Session, name: str, *, now: datetime, settings: Settings) -> Fire:
    """Fire at once, paused or not, whatever the overlap policy; the next slot stays as it is.

    Raises NotFound for the schedule, or what the submit raises for its corpus and bundle.
    """
    return submit_fire(session, _named(session, name), slot=now, now=now, settings=settings)


def _take_over(session: Session, name: str, values: dict[str, object]) -> None:
    taken = session.execute(
        sa.update(table)
        .where(table.c.name == name, table.c.removed_at.is_not(None))
        .values(**values)
        .returning(table.c.id)
    )
    if taken.first() is None:
        raise Conflict(
            f"There is a schedule '{name}' already.",
            hint=f"Choose another name, or first: postq schedule remove {name}.",
        )


def _change(session: Session, name: str, **values: object) -> Schedule:
    found = _named(session, name)
    session.execute(sa.update(table).where(table.c.id == found.id).values(**values))
    return session.get_one(Schedule, found.id, populate_existing=True)


def _named(session: Session, name: str) -> Schedule:
    live = sa.select(Schedule).where(col(Schedule.removed_at).is_(None))
    found = session.scalars(live.where(col(Schedule.name) == name)).one_or_none()
    if found is None:
        names = list(session.scalars(sa.select(table.c.name).where(table.c.removed_at.is_(None))))
        close = get_close_matches(name, names, n=3)
        raise NotFound(
            f"There is no schedule '{name}'.",
            hint=f"Did you mean {' or '.join(close)}?"
            if close
            else "See all schedules with: postq schedule list.",
        )
    return found


def _view(session: Session, of: Schedule) -> ScheduleView:
    query = (
        sa.select(Fire, job.c.state)
        .join(job, job.c.id == Fire.job_id, isouter=True)
        .where(col(Fire.schedule_id) == of.id)
        .order_by(col(Fire.slot).desc())
        .limit(1)
    )
    fire, state = session.execute(query).one_or_none() or (None, None)
    return ScheduleView(schedule=of, last_fire=fire, last_state=state)
