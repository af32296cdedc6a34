"""Writing the append-only history: one line in the transaction of the change it tells."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.models.tables import event


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLine:
    """One line to write; `from_state` and `to_state` are given for transitions only."""

    job_id: int
    type: str
    shard_id: int | None = None
    token: int | None = None
    from_state: str | None = None
    to_state: str | None = None
    message: str = ""
    data: dict[str, Any] | None = None


def write_events(session: Session, lines: Sequence[EventLine], *, now: datetime) -> None:
    """Append the lines, all stamped `now`."""
    if not lines:
        return
    rows = [
        {
            "job_id": line.job_id,
            "shard_id": line.shard_id,
            "token": line.token,
            "at": now,
            "type": line.type,
            "from_state": line.from_state,
            "to_state": line.to_state,
            "message": line.message,
            "data": line.data,
        }
        for line in lines
    ]
    session.execute(sa.insert(event), rows)


def write_event(session: Session, line: EventLine, *, now: datetime) -> None:
    """Append one line."""
    write_events(session, [line], now=now)
