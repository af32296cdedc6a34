"""The drift watch: which scheduled classifications were not compared yet, and what each is told of it."""

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import col

from postq.contracts.specs import JobKind
from postq.counted import counted
from postq.jobs.drift import Measured
from postq.jobs.events import EventLine, write_event
from postq.jobs.states import JOB_SUCCEEDED
from postq.models.event import Event
from postq.models.tables import job as table

ALARM, NONE, UNKNOWN = "drift.alarm", "drift.none", "drift.unknown"
WATCHED_FOR = timedelta(days=7)
"""Scheduled jobs that ended longer ago are not looked at any more."""
SHOWN_ALARMS = 3


def next_unwatched(session: Session, *, now: datetime) -> int | None:
    """The oldest job fired by a schedule that has scored something, ended lately and was not watched yet."""
    told = sa.select(sa.literal(1)).where(
        col(Event.job_id) == table.c.id, col(Event.type).in_((ALARM, NONE, UNKNOWN))
    )
    query = sa.select(table.c.id).where(
        table.c.kind == JobKind.CLASSIFY,
        table.c.state.in_(JOB_SUCCEEDED),
        table.c.schedule_id.is_not(None),
        table.c.documents_predicted > 0,
        table.c.finished_at > now - WATCHED_FOR,
        ~told.correlate(table).exists(),
    )
    return session.scalar(query.order_by(table.c.id).limit(1))


def note_drift(session: Session, measured: Measured, *, now: datetime) -> bool:
    """Tell the job what was measured, once: an event, and two figures in its result for `postq status`.

    False when another worker was first, or the job was forgotten meanwhile.
    """
    alarms, name = measured.drift.alarms, measured.reference.name
    message = f"no drift against {name}"
    if alarms:
        told = "; ".join(alarm.sentence for alarm in alarms[:SHOWN_ALARMS])
        more = f"; and {len(alarms) - SHOWN_ALARMS} more" if len(alarms) > SHOWN_ALARMS else ""
        message = f"{counted(len(alarms), 'alarm')} against {name}: {told}{more}"
    data = {
        "severity": "warning" if alarms else "info",
        "against": name,
        "documents": measured.drift.documents,
        "alarms": [{"kind": each.kind, "label": each.label, "alarm": each.sentence} for each in alarms],
    }
    line = EventLine(job_id=measured.job_id, type=ALARM if alarms else NONE, message=message, data=data)
    return _tell(session, line, {"against": name, "alarms": len(alarms)}, now=now)


def note_unknown(session: Session, job_id: int, why: str, *, now: datetime) -> bool:
    """Tell the job that it could not be compared, once, so that nobody tries again."""
    line = EventLine(job_id=job_id, type=UNKNOWN, message=why, data={"severity": "info"})
    return _tell(session, line, {"against": None, "alarms": None}, now=now)


def _tell(session: Session, line: EventLine, figures: dict[str, object], *, now: datetime) -> bool:
    own = sa.select(table.c.result).where(table.c.id == line.job_id).with_for_update()
    found = session.execute(own).one_or_none()
    result = (found.result or {}) if found else {}
    if found is None or "drift" in result:
        return False
    values = {"result": {**result, "drift": figures}}
    session.execute(sa.update(table).where(table.c.id == line.job_id).values(**values))
    write_event(session, line, now=now)
    return True
