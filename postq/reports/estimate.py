"""A figure with its 95 % interval, where one is known."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure between 0 and 1 (or a difference of two); `low` and `high` are None without an interval."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def known(self) -> bool:
        """True when there is an interval to show."""
        return self.value is not None and self.low is not None and self.high is not None

    def words(self, *, digits: int = 3, sign: bool = False) -> str:
        """`0.884 (0.876 to 0.891)`; an en dash where there is no figure."""
        if self.value is None:
            return "–"
        text = decimal(self.value, digits=digits, sign=sign)
        if self.low is None or self.high is None:
            return text
        return f"{text} ({self.interval(digits=digits, sign=sign)})"

    def interval(self, *, digits: int = 3, sign: bool = False) -> str:
        """`0.876 to 0.891`, or nothing."""
        if self.low is None or self.high is None:
            return ""
        bounds = (decimal(bound, digits=digits, sign=sign) for bound in (self.low, self.high))
        return " to ".join(bounds)


def estimate(value: float | None, bounds: Sequence[float] | None = None) -> Estimate:
    """An estimate from a figure and its (low, high), either of which may be missing."""
    if value is None or not bounds:
        return Estimate(value=value)
    return Estimate(value=value, low=float(bounds[0]), high=float(bounds[1]))


def decimal(value: float | None, *, digits: int = 3, sign: bool = False) -> str:
    """`0.884`, or with a sign `+0.012` and `−0.012`; an en dash for no figure, and never `-0.000`."""
    if value is None:
        return "–"
    rounded = round(value, digits) + 0.0
    text = f"{rounded:+.{digits}f}" if sign and rounded else f"{rounded:.{digits}f}"
    return text.replace("-", "−")
