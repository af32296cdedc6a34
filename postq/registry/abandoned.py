"""Folders left behind by processes that died while they wrote them."""

import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.models.tables import corpus

ABANDONED_AFTER = timedelta(hours=24)
"""A folder is left alone this long after its last write: somebody may be at it."""


def of_this_database(session: Session, places: Iterable[Path]) -> list[Path]:
    """Those of `places` that were written since the database knew its first corpus.

    Others that no row names are of another database, which has the same home or had it before: the rows that
    name them are there.
    """
    begun = session.scalar(sa.select(sa.func.min(corpus.c.created_at)))
    return [] if begun is None else [place for place in places if _last_write(place) >= begun]


def abandoned(places: Iterable[Path], *, before: datetime) -> list[Path]:
    """Those of `places` that nobody has written to since."""
    return [place for place in places if _last_write(place) < before]


def remove_abandoned(places: Iterable[Path], *, now: datetime) -> int:
    """Remove those of `places`, which no row names, that nobody writes any more; how many there were."""
    going = abandoned(places, before=now - ABANDONED_AFTER)
    for place in going:
        shutil.rmtree(place, ignore_errors=True)
    return len(going)


def _last_write(place: Path) -> datetime:
    try:
        seconds = max(path.stat().st_mtime for path in (place, *place.rglob("*")))
    except OSError:  # it vanished while it was looked at
        return datetime.max.replace(tzinfo=UTC)
    return datetime.fromtimestamp(seconds, tz=UTC)
