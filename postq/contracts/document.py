"""One document as it travels from a corpus snapshot to a learner or a scorer."""

from dataclasses import dataclass
from typing import Literal

SplitName = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One normalised document of a snapshot."""

    row: int
    """Position in the snapshot, from 0; the document's key within its corpus version."""
    document_id: str
    text: str
    content_hash: bytes
    """First 16 bytes of SHA-256 over the normalised text, headings included."""
    word_count: int
    labels: tuple[str, ...] = ()
    split: SplitName | None = None
    """The official split, where the source has one."""
