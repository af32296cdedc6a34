"""Following a job's history: each look tells the lines that no look before it has told."""

from collections.abc import Set
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import col

from postq.errors import NotFound
from postq.jobs.states import JOB_TERMINAL
from postq.jobs.views import EventView
from postq.models.event import Event
from postq.models.tables import event, job


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A job's history as it stood at one moment."""

    lines: tuple[EventView, ...]
    """Those to tell now, by number."""
    numbers: Set[int]
    """Of all lines there are; the next look passes them over."""
    ended: bool
    """The job has; its last step is among the lines told so far, having come with its state."""


def look_at_events(
    session: Session, job_id: int, *, known: Set[int] = frozenset(), newest: int | None = None
) -> Look:
    """The lines whose numbers are not `known`, or the `newest` of them; `session` must see one state.

    Not only those above the highest number known: PostgreSQL gives numbers out before the commit, so that a
    line may come to light after one with a higher number. Raises NotFound for a job that is not there.
    """
    state = session.scalar(sa.select(job.c.state).where(job.c.id == job_id))
    if state is None:
        told = f"Job {job_id} was pruned while it was followed." if known else f"There is no job {job_id}."
        raise NotFound(told, hint="See all jobs with: postq status.")
    fresh = _fresh(session, job_id, known)
    lines = _lines(session, job_id, fresh[-newest:] if newest else fresh)
    return Look(lines=lines, numbers=known | frozenset(fresh), ended=state in JOB_TERMINAL)


def _fresh(session: Session, job_id: int, known: Set[int]) -> list[int]:
    """Ascending numbers of the lines not known. A line stays as long as its job: a count tells how many."""
    mine = event.c.job_id == job_id
    missing = session.execute(sa.select(sa.func.count()).where(mine)).scalar_one() - len(known)
    if not missing:
        return []
    numbers = sa.select(event.c.id).where(mine).order_by(event.c.id)
    above = list(session.scalars(numbers.where(event.c.id > max(known, default=0))))
    if len(above) == missing:
        return above
    return [number for number in session.scalars(numbers) if number not in known]


def _lines(session: Session, job_id: int, numbers: list[int]) -> tuple[EventView, ...]:
    """The lines of these ascending numbers, asked for as a range: there may be too many to name each."""
    if not numbers:
        return ()
    span = col(Event.id).between(numbers[0], numbers[-1])
    query = sa.select(Event).where(col(Event.job_id) == job_id, span).order_by(col(Event.id))
    wanted = frozenset(numbers)
    return tuple(EventView(**row.model_dump()) for row in session.scalars(query) if row.id in wanted)
