"""One spelling for every text: NFC, no control characters, single spaces, paragraphs two newlines apart."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from postq.contracts.document import SplitName
from postq.corpus.records import RawRecord, Section, SetAsideReason, UnfitRecord
from postq.counted import counted

MIN_WORDS = 10
"""Documents with fewer words, headings included, are set aside: three such once made a whole training NaN."""
LONGEST_NAME_BYTES = 2_000
"""Of an id or a label. PostgreSQL indexes both, and an index row holds 2,704 bytes."""
HASH_BYTES = 16
PARAGRAPH_BREAK = "\n\n"

# C0 and C1 controls that are not white space, surrogates that stand alone, and the byte order mark.
_DROPPED = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalisedDocument:
    """A document in the one spelling, ready for a snapshot."""

    document_id: str
    text: str
    heading_spans: tuple[int, ...]
    """Start and end offsets (in characters of `text`) of each heading, flattened."""
    labels: tuple[str, ...]
    content_hash: bytes
    word_count: int
    split: SplitName | None


def clean_line(text: str) -> str:
    """`text` on one line: controls dropped, NFC, white space collapsed and stripped. Idempotent."""
    if not text.isascii() or not text.isprintable():
        text = unicodedata.normalize("NFC", _DROPPED.sub("", text))
    return " ".join(text.split())


def normalise(record: RawRecord) -> NormalisedDocument:
    """Bring a record into the one spelling.

    Raises UnfitRecord when nothing, or fewer than MIN_WORDS words, are left, and for an id or a label of more
    than LONGEST_NAME_BYTES.
    """
    text, spans = _join(record.sections)
    words = text.count(" ") + text.count(PARAGRAPH_BREAK) + 1 if text else 0
    if words < MIN_WORDS:
        reason = SetAsideReason.TOO_SHORT if words else SetAsideReason.MISSING_TEXT
        detail = f"{counted(words, 'word')}, fewer than {MIN_WORDS}" if words else "no words at all"
        raise UnfitRecord(reason, detail, document_id=record.document_id)
    labels = tuple(sorted({cleaned for label in record.labels if (cleaned := clean_line(label))}))
    _check_names(record.document_id, labels)
    return NormalisedDocument(
        document_id=record.document_id,
        text=text,
        heading_spans=spans,
        labels=labels,
        content_hash=content_hash(text),
        word_count=words,
        split=record.split,
    )


def _check_names(identifier: str, labels: tuple[str, ...]) -> None:
    for what, name in (("id", identifier), *(("label", label) for label in labels)):
        size = len(name.encode())
        if size > LONGEST_NAME_BYTES:
            raise UnfitRecord(
                SetAsideReason.TOO_LONG, f"the {what} has {size:,} bytes, more than {LONGEST_NAME_BYTES:,}"
            )


def content_hash(text: str) -> bytes:
    """First 16 bytes of SHA-256 over a normalised text, headings included."""
    return hashlib.sha256(text.encode()).digest()[:HASH_BYTES]


def without_headings(text: str, heading_spans: list[int]) -> str:
    """The paragraphs of `text` alone; a document of headings only keeps them, so that no text is empty."""
    pieces = []
    position = 0
    for start, end in zip(heading_spans[::2], heading_spans[1::2], strict=True):
        pieces.append(text[position:start])
        position = end
    pieces.append(text[position:])
    kept = (piece.strip("\n") for piece in pieces)
    return PARAGRAPH_BREAK.join(piece for piece in kept if piece) or text


def _join(sections: tuple[Section, ...]) -> tuple[str, tuple[int, ...]]:
    blocks: list[str] = []
    spans: list[int] = []
    position = 0
    for block, is_heading in _blocks(sections):
        if is_heading:
            spans += (position, position + len(block))
        blocks.append(block)
        position += len(block) + len(PARAGRAPH_BREAK)
    return PARAGRAPH_BREAK.join(blocks), tuple(spans)


def _blocks(sections: tuple[Section, ...]) -> Iterator[tuple[str, bool]]:
    for section in sections:
        if section.heading and (heading := clean_line(section.heading)):
            yield heading, True
        for paragraph in section.paragraphs:
            if cleaned := clean_line(paragraph):
                yield cleaned, False
