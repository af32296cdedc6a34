"""When a schedule is due: cron expressions in an IANA time zone, answered in UTC and right on DST days."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from itertools import takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from postq.errors import BadInput

_LOOK_BACK = timedelta(days=2)


def slots_after(cron: str, timezone: str, after: datetime) -> Iterator[datetime]:
    """Every slot later than `after`, ascending, in UTC.

    Follows Debian cron on DST days: a time of day that is skipped runs right after the gap, one that comes
    twice runs once, and steps such as `*/30` follow the clock on the wall. Raises BadInput for a wrong
    expression or zone.
    """
    latest = after
    # CronSim forgets which of two equal wall times it stands on; hence the comparison in UTC.
    for slot in _simulator(cron, after.astimezone(_zone(timezone))):
        moment = slot.astimezone(UTC)
        if moment > latest:
            latest = moment
            yield moment


def next_slot(cron: str, timezone: str, after: datetime) -> datetime | None:
    """The first slot later than `after`; None for an expression that never comes true again."""
    return next(slots_after(cron, timezone, after), None)


def newest_slot(cron: str, timezone: str, *, first: datetime, now: datetime) -> datetime:
    """The last slot in [first, now], where `first` is itself a slot.

    Looks back two days before it walks the whole way, so that a minutely schedule found again after a
    year costs no more than a daily one.
    """
    newest = first
    for begin in (now - _LOOK_BACK, first):
        if begin < first:
            continue
        for slot in takewhile(lambda slot: slot <= now, slots_after(cron, timezone, begin)):
            newest = slot
        if newest > first:
            break
    return newest


def _simulator(cron: str, start: datetime) -> CronSim:
    try:
        if len(cron.split()) != 5:
            raise CronSimError("it must have five fields")
        return CronSim(cron, start)
    except CronSimError as exc:
        raise BadInput(
            f"'{cron}' is not a cron expression: {exc}.",
            hint='Use five fields, such as "0 2 * * *" for every night at two.',
        ) from exc


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        close = get_close_matches(name, sorted(available_timezones()), n=3)
        raise BadInput(
            f"'{name}' is not a time zone.",
            hint=f"Did you mean {' or '.join(close)}?"
            if close
            else "Use an IANA name such as Europe/Berlin.",
        ) from exc
