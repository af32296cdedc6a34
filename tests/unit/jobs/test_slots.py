"""Slots of schedules: in order, in the future, and right where clocks change."""

from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postq.errors import BadInput
from postq.jobs.slots import newest_slot, next_slot, slots_after

ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
CRONS = st.sampled_from(
    ["0 2 * * *", "30 2 * * *", "*/30 * * * *", "15 1-3 * * *", "0 0 1 * *", "5 4 * * SUN"]
)
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2029, 1, 1), timezones=st.just(UTC))
FALL_BACK = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # the second 02:10 of that night in Berlin


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@given(cron=CRONS, zone=ZONES, after=MOMENTS)
@example(cron="30 2 * * *", zone="Europe/Berlin", after=FALL_BACK)
def test_slots_lie_after_the_moment_asked_for_and_ascend(cron: str, zone: str, after: datetime) -> None:
    slots = list(islice(slots_after(cron, zone, after), 8))
    assert len(slots) == 8
    assert all(later > earlier for earlier, later in zip([after, *slots], slots, strict=False))


@given(cron=CRONS, zone=ZONES, after=MOMENTS)
def test_asking_again_from_a_slot_goes_on_where_it_stood(cron: str, zone: str, after: datetime) -> None:
    one_by_one = []
    moment = after
    for _ in range(6):
        found = next_slot(cron, zone, moment)
        assert found is not None
        one_by_one.append(moment := found)
    assert one_by_one == list(islice(slots_after(cron, zone, after), 6))


@given(cron=CRONS, zone=ZONES, after=MOMENTS, hours=st.integers(0, 24 * 40))
def test_the_newest_slot_is_the_last_of_all_up_to_now(
    cron: str, zone: str, after: datetime, hours: int
) -> None:
    first = next_slot(cron, zone, after)
    assert first is not None
    now = first + timedelta(hours=hours)
    every = takewhile(lambda slot: slot <= now, slots_after(cron, zone, first))
    assert newest_slot(cron, zone, first=first, now=now) == max([first, *every])


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        # 02:30 does not exist on 29 March 2026 in Berlin: it runs when the clock has jumped to 03:00.
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        # 02:30 comes twice on 25 October 2026: it runs once, the first time.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00", ["2026-11-01T05:30", "2026-11-02T06:30"]),
        # Half-hourly steps follow the clock on the wall through both.
        ("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:29", ["2026-03-29T00:30", "2026-03-29T01:00"]),
        ("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:29", ["2026-10-25T00:30", "2026-10-25T01:00"]),
    ],
)
def test_days_on_which_clocks_change(cron: str, zone: str, after: str, expected: list[str]) -> None:
    assert list(islice(slots_after(cron, zone, utc(after)), 2)) == [utc(text) for text in expected]


def test_every_half_hour_of_the_longest_day_has_one_slot() -> None:
    midnight, next_midnight = utc("2026-10-24T21:59"), utc("2026-10-25T22:30")
    slots = takewhile(
        lambda slot: slot < next_midnight, slots_after("*/30 * * * *", "Europe/Berlin", midnight)
    )
    assert len(list(slots)) == 49  # 25 hours, from the midnight to the last half hour


@pytest.mark.parametrize("cron", ["", "nightly", "* * * *", "0 0 30 2 *", "* * * * * *", "60 * * * *"])
def test_what_is_no_cron_expression_is_refused(cron: str) -> None:
    with pytest.raises(BadInput, match="not a cron expression"):
        next_slot(cron, "UTC", FALL_BACK)


@pytest.mark.parametrize("zone", ["Europe/Berlinn", "../etc/passwd", "", "/etc/localtime"])
def test_what_is_no_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(BadInput, match="not a time zone"):
        next_slot("0 2 * * *", zone, FALL_BACK)
