"""A listing is declared once, column by column, and comes out as a table, as JSON and as documentation."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic

from postq.cli.printing.column import Column, Row
from postq.cli.printing.terminal import note, show, show_json
from postq.cli.printing.wording import iso


@dataclass(frozen=True, kw_only=True)
class Listing(Generic[Row]):
    """All columns of one listing and what to say when it is empty."""

    name: str
    columns: tuple[Column[Row], ...]
    empty: str
    """One sentence for people; JSON shows an empty array."""
    keys: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", tuple(column.key for column in self.columns))
        LISTINGS[self.name] = self

    def as_dict(self, row: Row) -> dict[str, Any]:
        """One row for JSON, with exactly the documented keys."""
        return {column.key: _plain(column.value(row)) for column in self.columns}

    def as_fields(self, row: Row) -> dict[str, Any]:
        """One row for CSV."""
        return {
            column.key: column.field(row) if column.field else _plain(column.value(row))
            for column in self.columns
        }

    def show(self, rows: Iterable[Row], *, json: bool) -> None:
        """Print the rows as a table, or as a JSON array."""
        listed = list(rows)
        if json:
            show_json([self.as_dict(row) for row in listed])
        elif listed:
            from postq.cli.printing.tables import FittedListing

            show(FittedListing(self.columns, listed))
        else:
            note(self.empty)


LISTINGS: dict[str, Listing[Any]] = {}
"""Every listing by name, for the reference."""


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, bytes):
        return value.hex()
    return value
