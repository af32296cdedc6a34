"""What a reader yields: records as they stand in the source, and records set aside with a reason."""

from dataclasses import dataclass
from enum import StrEnum

from postq.contracts.document import SplitName


class SetAsideReason(StrEnum):
    """Why a record did not become a document; every record read is a document or has one of these."""

    BAD_RECORD = "bad_record"  # not JSON, or a CSV row whose cells do not fit its header
    INVALID_UTF8 = "invalid_utf8"  # bytes that are not UTF-8
    WRONG_TYPE = "wrong_type"  # a field of another type than the form asks for
    MISSING_ID = "missing_id"  # no id, or a blank one
    MISSING_TEXT = "missing_text"  # no text, or nothing but white space and control characters
    TOO_SHORT = "too_short"  # fewer than ten words
    TOO_LONG = "too_long"  # larger than the cap on one record, or its id or a label on that of names
    REPEATED_ID = "repeated_id"  # an earlier record of this corpus has the id; the first one stays
    UNKNOWN_SPLIT = "unknown_split"  # a split that is none of train, validation and test


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A run of paragraphs under one heading, or under none."""

    heading: str | None
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRecord:
    """One record with its fields told apart, before normalisation and screening."""

    source: str
    """Name of the file it stands in, without credentials."""
    number: int
    """Line or row in that file, from 1."""
    document_id: str
    sections: tuple[Section, ...]
    labels: tuple[str, ...] = ()
    split: SplitName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """One record that did not become a document."""

    source: str
    number: int
    """Line or row in the source file, from 1."""
    reason: SetAsideReason
    detail: str
    """A short explanation; never the document's own text."""
    document_id: str | None = None


class UnfitRecord(Exception):
    """Raised while a record's fields are read; its reader turns it into a SetAside."""

    def __init__(self, reason: SetAsideReason, detail: str, *, document_id: str | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.document_id = document_id

    def set_aside(self, source: str, number: int) -> SetAside:
        """The record's entry in the list of those set aside."""
        return SetAside(
            source=source,
            number=number,
            reason=self.reason,
            detail=self.detail,
            document_id=self.document_id,
        )
