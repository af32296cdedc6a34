"""How a schedule's slots are told: on its own clock, as shortly as they can be understood."""

from datetime import UTC, datetime, timedelta

from postq.cli.submitting.schedule import _next
from postq.jobs.schedules import ScheduleView
from postq.models.schedule import Schedule


def next_at(moment: datetime, **changes: object) -> str:
    row = {"name": "nightly", "timezone": "Asia/Kathmandu", "paused": False, "next_slot": moment, **changes}
    return _next(ScheduleView(schedule=Schedule(**row)))


def test_this_year_is_left_out_and_another_one_is_not() -> None:
    noon = datetime.now(UTC).replace(month=6, day=1, hour=12, minute=0)
    assert next_at(noon) == "06-01 17:45 +0545"
    later = (noon + timedelta(days=500)).replace(month=6, day=1)
    assert next_at(later) == f"{later.year}-06-01 17:45 +0545"


def test_a_zone_that_this_machine_does_not_know_is_told_in_utc() -> None:
    moment = datetime.now(UTC).replace(month=6, day=1, hour=12, minute=0)
    assert next_at(moment, timezone="Europe/Nowhere") == "06-01 12:00 UTC"
