"""One column of a listing: its key in JSON, its heading and cells in a table, its field in a file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True)
class Column(Generic[Row]):
    """One key of the JSON and, when it has a heading, one column of the table."""

    key: str
    meaning: str
    """One phrase for the reference."""
    value: Callable[[Row], Any]
    """What JSON shows; times become ISO 8601 in UTC."""
    heading: str = ""
    """Empty: in JSON only."""
    cell: Callable[[Row], str] | None = None
    """What the table shows, when it is not simply the value."""
    field: Callable[[Row], str] | None = None
    """What a CSV file holds, when the value is no plain one."""
    style: Callable[[Row], str] | None = None
    right: bool = False
    flexible: bool = False
    """May be wrapped when the terminal is narrow; the others keep their width."""
