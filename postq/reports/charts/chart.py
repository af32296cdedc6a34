"""One finished chart: its SVG, and the words that stand for it where it cannot be seen."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Inline SVG without size, so that the page decides how wide it is."""

    svg: str
    title: str
    description: str
    """What a reader who cannot see it should know."""
    wide: bool = False
    """Takes the whole width of the page."""
