"""Times, sizes and counts are worded for people."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postq.cli.printing import wording

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (-3, "0.0 s"),
        (0.44, "0.4 s"),
        (42, "42 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert wording.duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "just now"), (4.9, "just now"), (42, "42 s ago"), (200, "3 min ago"), (7300, "2 h ago")],
)
def test_a_recent_moment_is_told_by_its_distance(seconds: float, words: str) -> None:
    assert wording.ago(NOON - timedelta(seconds=seconds), now=NOON) == words


def test_a_moment_long_past_is_told_by_its_date() -> None:
    assert wording.ago(NOON - timedelta(days=3), now=NOON).startswith("2026-03-0")


@pytest.mark.parametrize(
    ("amount", "words"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (14_200, "14 kB"), (1_240_000_000, "1.2 GB")],
)
def test_a_size_is_told_in_powers_of_ten(amount: int, words: str) -> None:
    assert wording.size(amount) == words


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [(0, 5, "0 %"), (5, 5, "100 %"), (4999, 5000, "99 %"), (1, 5000, "<1 %"), (0, 0, "")],
)
def test_a_share_is_complete_only_when_all_of_it_is_there(part: int, whole: int, words: str) -> None:
    assert wording.share(part, whole) == words


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("24GB", 24 * 10**9),
        ("24 gb", 24 * 10**9),
        ("1.5GiB", 3 * 2**29),
        ("512MB", 512 * 10**6),
        ("800k", 800_000),
        ("1000", 1000),
        ("0", 0),
    ],
)
def test_sizes_are_read_with_and_without_units(text: str, amount: int) -> None:
    assert wording.parse_size(text) == amount


@pytest.mark.parametrize(
    "text", ["", "GB", "many", "-1", "-1GB", "1XB", "nan", "inf", "1e40GB", "1 2 GB", "0x10"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (the caller words it)
        wording.parse_size(text)


@given(st.text(max_size=20))
def test_any_text_is_a_size_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= wording.parse_size(text) < 2**63


QUARTER_END = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90d", datetime(2025, 12, 31, 12, 0, tzinfo=UTC)),
        ("12h", datetime(2026, 3, 31, 0, 0, tzinfo=UTC)),
        ("30 min", datetime(2026, 3, 31, 11, 30, tzinfo=UTC)),
        ("2w", datetime(2026, 3, 17, 12, 0, tzinfo=UTC)),
        ("2026-01-31", datetime(2026, 1, 31).astimezone()),
    ],
)
def test_ages_and_dates_are_moments(text: str, moment: datetime) -> None:
    assert wording.parse_moment(text, now=QUARTER_END) == moment


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "999999d", "2026-13-01", "yesterday", "1e3d"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (the caller words it)
        wording.parse_moment(text, now=QUARTER_END)


def test_times_in_json_are_utc_and_say_so() -> None:
    berlin = datetime.fromisoformat("2026-03-04T13:00:00+01:00")
    assert wording.iso(berlin) == "2026-03-04T12:00:00Z"
    assert wording.iso(None) is None
