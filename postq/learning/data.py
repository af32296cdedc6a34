"""The documents and labels one training works on, already split and hashed."""

from collections.abc import Sequence
from dataclasses import dataclass

from postq.contracts.document import Document, SplitName
from postq.learning.labels import labels_on_none


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


def labels_without_positives(data: TrainingData) -> dict[str, list[str]]:
    """By split that holds documents: the labels none of them carries."""
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return {name: labels_on_none(documents, data.labels) for name, documents in splits.items() if documents}
