"""How times, durations, sizes, counts and shares are worded for people."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

MINUTE, HOUR, DAY = 60, 3600, 86_400


def duration(seconds: float) -> str:
    """`0.4 s`, `42 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02d} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE:02d} min"
    return f"{whole // DAY} d {whole % DAY // HOUR} h"


def ago(moment: datetime, *, now: datetime) -> str:
    """`just now`, `42 s ago`, `3 min ago`, `2 h ago`, then the date."""
    seconds = (now - moment).total_seconds()
    if seconds < 5:
        return "just now"
    if seconds < MINUTE:
        return f"{seconds:.0f} s ago"
    if seconds < HOUR:
        return f"{seconds // MINUTE:.0f} min ago"
    if seconds < DAY:
        return f"{seconds // HOUR:.0f} h ago"
    return f"{moment.astimezone():%Y-%m-%d}"


def clock(moment: datetime) -> str:
    """Local date and time to the second, with the zone's abbreviation."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z}"


def size(amount: int) -> str:
    """`512 B`, `14 kB`, `1.2 GB` (powers of ten)."""
    value = float(amount)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def share(part: float, whole: float) -> str:
    """`62 %`; 100 % only when all of it, 0 % only when none."""
    if whole <= 0:
        return ""
    percent = 100 * part / whole
    if 0 < percent < 1:
        return "<1 %"
    return f"{min(int(percent), 99) if part < whole else 100} %"


def iso(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC for JSON."""
    return None if moment is None else moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def short_path(path: Path) -> str:
    """`path` with the user's home folder as `~`."""
    try:
        return f"~/{path.relative_to(Path.home())}"
    except (ValueError, RuntimeError):
        return str(path)


def folder_stays(folder: Path) -> str:
    """Why a folder was not removed with the row that named it, and what to do."""
    return (
        f"its folder {short_path(folder)} stays: its name does not say that it is this database's alone. "
        "If no other one uses it, remove it by hand."
    )


def parse_moment(text: str, *, now: datetime) -> datetime:
    """The time `90d`, `12h`, `30min` or `8w` before `now`, or the start of a day such as `2026-01-31` here.

    Raises ValueError for anything else.
    """
    if match := re.fullmatch(r"(\d{1,5}) ?(min|h|d|w)", text.strip()):
        seconds = {"min": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}[match[2]]
        return now - timedelta(seconds=int(match[1]) * seconds)
    return datetime.strptime(text.strip(), "%Y-%m-%d").astimezone()


def parse_size(text: str) -> int:
    """Bytes of `24GB`, `512 MB`, `1.5GiB` or a bare number; raises ValueError for anything else."""
    units = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
    binary = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
    lower = text.strip().lower().removesuffix("b").strip()
    number = lower.rstrip("kmgti").strip()
    unit = lower[len(number) :].strip()
    factor = {**units, **binary}.get(unit)
    if factor is None:
        raise ValueError(text)
    amount = float(number) * factor
    if not 0 <= amount < 2**63:
        raise ValueError(text)
    return int(amount)
