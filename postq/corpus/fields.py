"""The fields of one record, whatever form it came in: id, labels, split, text."""

import json
import re
from dataclasses import dataclass
from typing import Any

from postq.contracts.document import SplitName
from postq.corpus.location import SPLIT_NAMES
from postq.corpus.normalise import clean_line
from postq.corpus.records import SetAsideReason, UnfitRecord
from postq.errors import BadInput

_BLANK_LINE = re.compile(r"\r?\n[^\S\n]*\r?\n\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Names of the fields in generic JSON lines, CSV and Parquet."""

    text: str = "text"
    id: str = "id"
    labels: str = "labels"
    """May be absent under its default name: the documents are then unlabelled."""
    split: str = "split"
    """May be absent under its default name."""
    delimiter: str = ";"
    """What separates labels given as one string; a string holding a JSON list needs none."""

    def __post_init__(self) -> None:
        if not self.delimiter:
            raise BadInput(
                "The delimiter between labels is empty, so it separates nothing.",
                hint="Give what stands between two labels, such as ';' or '|'.",
            )

    @property
    def required(self) -> frozenset[str]:
        """Columns that must be there: text and id, and any other that was named by the user."""
        given = {
            name for name, default in ((self.labels, "labels"), (self.split, "split")) if name != default
        }
        return frozenset({self.text, self.id} | given)


def parse_id(value: Any) -> str:
    """A document id: a string or an integer that is not blank."""
    if value is None:
        raise UnfitRecord(SetAsideReason.MISSING_ID, "no id")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UnfitRecord(SetAsideReason.WRONG_TYPE, f"the id is {_kind(value)}, not a string")
    identifier = clean_line(str(value))
    if not identifier:
        raise UnfitRecord(SetAsideReason.MISSING_ID, "the id is blank")
    return identifier


def parse_label_list(value: Any, *, field: str) -> tuple[str, ...]:
    """Labels given as a list of strings; None means none."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise UnfitRecord(SetAsideReason.WRONG_TYPE, f"'{field}' is {_kind(value)}, not a list")
    for label in value:
        if not isinstance(label, str):
            raise UnfitRecord(SetAsideReason.WRONG_TYPE, f"'{field}' holds {_kind(label)}, not only strings")
    return tuple(value)


def parse_labels(value: Any, *, columns: Columns) -> tuple[str, ...]:
    """Labels given as a list, a JSON list in a string, or a delimited string."""
    if not isinstance(value, str):
        return parse_label_list(value, field=columns.labels)
    if value.lstrip().startswith("["):
        try:
            listed = json.loads(value)
        except (ValueError, RecursionError):
            listed = None  # a label that merely starts with a bracket
        if listed is not None:
            return parse_label_list(listed, field=columns.labels)
    return tuple(value.split(columns.delimiter))


def parse_split(value: Any, *, given: SplitName | None) -> SplitName | None:
    """The record's official split; the one `given` for the whole file wins, blank means none."""
    if given is not None or value is None:
        return given
    if not isinstance(value, str):
        raise UnfitRecord(SetAsideReason.WRONG_TYPE, f"the split is {_kind(value)}, not a string")
    name = value.strip().lower()
    if not name:
        return None
    if name not in SPLIT_NAMES:
        raise UnfitRecord(
            SetAsideReason.UNKNOWN_SPLIT, f"split '{name[:40]}' is not train, validation or test"
        )
    return SPLIT_NAMES[name]


def parse_text(value: Any, *, field: str) -> tuple[str, ...]:
    """Paragraphs of a plain text: they are told apart by blank lines."""
    if value is None:
        raise UnfitRecord(SetAsideReason.MISSING_TEXT, f"no '{field}'")
    if not isinstance(value, str):
        raise UnfitRecord(SetAsideReason.WRONG_TYPE, f"'{field}' is {_kind(value)}, not a string")
    return tuple(_BLANK_LINE.split(value))


def _kind(value: Any) -> str:
    """The JSON type of a value, with its article."""
    kinds = {
        dict: "an object",
        list: "a list",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
    }
    return kinds.get(type(value), "null" if value is None else f"a {type(value).__name__}")
