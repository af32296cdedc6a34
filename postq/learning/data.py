"""The documents and labels one training works on, already split and hashed."""

from collections.abc import Sequence
from dataclasses import dataclass

from postq.contracts.document import Document, SplitName


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitEntry:
    """One line of a split manifest: which document lay in which split, and in which cluster."""

    document_id: str
    content_hash: bytes
    cluster: int
    """Near-duplicate cluster; documents of one cluster always share a split."""
    split: SplitName


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Documents of the three splits, the kept labels in their fixed order, and the split manifest."""

    train: Sequence[Document]
    validation: Sequence[Document]
    test: Sequence[Document]
    labels: tuple[str, ...]
    """Decided on the training split; column order of every score and indicator matrix."""
    manifest: Sequence[SplitEntry]
    corpus: str
    """Name and version of the corpus, for the model card."""
