"""Which labels are learned, and the indicator matrix of documents against them."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from postq.contracts.document import Document
from postq.errors import NotTrainable


def decide_labels(documents: Iterable[Document], *, min_label_count: int) -> tuple[str, ...]:
    """The labels that at least `min_label_count` of the (training) documents carry.

    Order is deterministic: most frequent first, then by name. A label named twice on one document counts
    once. Raises NotTrainable when no label is frequent enough.
    """
    counts = label_counts(documents)
    kept = sorted((-count, label) for label, count in counts.items() if count >= min_label_count)
    if not kept:
        most = max(counts.values(), default=0)
        raise NotTrainable(
            f"No label is on {min_label_count} or more training documents; the most frequent is on {most}.",
            hint="Lower min_label_count, or add labelled documents to the training split.",
        )
    return tuple(label for _, label in kept)


def label_counts(documents: Iterable[Document]) -> Counter[str]:
    """How many documents carry each label."""
    return Counter(label for document in documents for label in set(document.labels))


def labels_on_none(documents: Iterable[Document], labels: Sequence[str]) -> list[str]:
    """Those of `labels` that no document carries, in order."""
    counts = label_counts(documents)
    return [label for label in labels if not counts[label]]


def labels_on_all(documents: Sequence[Document], labels: Sequence[str]) -> list[str]:
    """Those of `labels` that every document carries, in order: there is nothing to tell them from."""
    counts = label_counts(documents)
    return [label for label in labels if documents and counts[label] == len(documents)]


def indicator_matrix(documents: Sequence[Document], labels: Sequence[str]) -> NDArray[np.bool_]:
    """(docs, labels) True where a document carries a label; labels outside `labels` are ignored.

    Boolean on purpose: scikit-learn 1.9.1 silently permutes the columns of an int8 indicator matrix with
    more than 127 labels (OneVsRestClassifier, LabelBinarizer).
    """
    column = {label: index for index, label in enumerate(labels)}
    matrix = np.zeros((len(documents), len(labels)), dtype=np.bool_)
    for row, document in enumerate(documents):
        for label in document.labels:
            if label in column:
                matrix[row, column[label]] = True
    return matrix


def unlearned_mentions(documents: Sequence[Document], labels: Sequence[str]) -> int:
    """How many label mentions on `documents` lie outside `labels`: truths no prediction can hit."""
    known = frozenset(labels)
    return sum(len(set(document.labels) - known) for document in documents)
