"""The house style: thin rules, few colours, text as text, and colours that follow light and dark."""

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from postq.reports.charts.chart import Chart

INK, MUTED, RULE, ON_FILL = "#24292f", "#6a737d", "#d9dce0", "#fdfdfd"
FIRST, SECOND, THIRD, FOURTH, FIFTH = "#1f5fa8", "#b4552d", "#3f7f4f", "#7d5ba6", "#8a7a1f"
SERIES = (FIRST, SECOND, THIRD, FOURTH, FIFTH)
_VARIABLES = {
    INK: "--chart-ink",
    MUTED: "--chart-muted",
    RULE: "--chart-rule",
    ON_FILL: "--chart-on-fill",
    FIRST: "--chart-1",
    SECOND: "--chart-2",
    THIRD: "--chart-3",
    FOURTH: "--chart-4",
    FIFTH: "--chart-5",
}
"""Drawn in the colour, shown in the page's variable of that name: the page is readable in the dark."""

NARROW, WIDE = (4.7, 3.1), (9.6, 3.1)
"""Inches. Narrow charts stand side by side on a wide page and keep legible text on a phone."""

_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 9.5,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "postq",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelsize": 9,
    "ytick.color": MUTED,
    "ytick.labelsize": 9,
}

# Without a writable home matplotlib says so on the error stream; a report needs no font cache.
logging.getLogger("matplotlib").setLevel(logging.ERROR)


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in the house style, and nothing outside of it."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # Label names may be in any script. The browser finds the glyphs; matplotlib need not have them.
        warnings.filterwarnings("ignore", message=".*[Gg]lyph.*", category=UserWarning)
        yield


def new_figure(*, size: tuple[float, float] = NARROW) -> tuple[Figure, Axes]:
    """A figure with one pair of axes; call it within `house_style`."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasSVG(figure)
    return figure, figure.add_subplot()


def finish(figure: Figure, *, name: str, title: str, description: str, wide: bool = False) -> Chart:
    """The figure as a chart; `name` makes its ids unique on the page."""
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return Chart(svg=_inline(stream.getvalue(), name), title=title, description=description, wide=wide)


def _inline(svg: str, name: str) -> str:
    """Only the `<svg>` element, without fixed size, with ids of its own and colours from the page."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", body, count=1)
    body = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", body, count=1)
    body = body.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
    body = re.sub(r'(<[a-zA-Z]+[^>]*?\sid=")', rf"\1{name}-", body)
    body = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", body)
    return re.sub(r"((?:fill|stroke): )(#[0-9a-f]{6})", _variable, body)


def _variable(match: re.Match[str]) -> str:
    named = _VARIABLES.get(match[2])
    return f"{match[1]}var({named}, {match[2]})" if named else match[0]


def plain(text: str) -> str:
    """A label name on one line, without control characters and without marks that turn the text around."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def shorten(text: str, *, most: int = 34) -> str:
    """The same, short enough for a legend."""
    flat = plain(text)
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"
