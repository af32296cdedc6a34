"""Folders left behind by processes that died while they wrote them."""

import shutil
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

ABANDONED_AFTER = timedelta(hours=24)
"""A folder is left alone this long after its last write: somebody may be at it."""


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
