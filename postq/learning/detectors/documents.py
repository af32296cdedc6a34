"""Detectors that look at the documents of a training: leaks between splits, what is empty, what is cut."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from postq.contracts.document import SplitName
from postq.counted import counted
from postq.learning.data import SplitEntry
from postq.learning.detectors.detection import Detection, Matrix
from postq.learning.metrics.counts import count, total

TRUNCATED_SHARE = 0.9
EMPTY_SHARE = 0.2
LENGTH_EDGES = (0, 512, 1024, 2048, 4096, 8192, 16384)


def detect_leak(manifest: Iterable[SplitEntry]) -> Detection | None:
    """LEAK: a document, or a near-duplicate of it, lies in more than one split."""
    by_hash: dict[bytes, set[SplitName]] = defaultdict(set)
    by_cluster: dict[int, set[SplitName]] = defaultdict(set)
    example = ""
    for entry in manifest:
        by_hash[entry.content_hash].add(entry.split)
        by_cluster[entry.cluster].add(entry.split)
        if not example and (len(by_hash[entry.content_hash]) > 1 or len(by_cluster[entry.cluster]) > 1):
            example = entry.document_id
    texts = sum(len(splits) > 1 for splits in by_hash.values())
    clusters = sum(len(splits) > 1 for splits in by_cluster.values())
    if not texts and not clusters:
        return None
    return Detection(
        event="LEAK",
        severity="error",
        message=f"{counted(texts, 'text')} and {counted(clusters, 'near-duplicate cluster')} in more than "
        f"one split, such as {example}. Numbers on validation and test are flattered; split by cluster.",
        data={"texts": texts, "clusters": clusters, "example": example},
    )


def detect_empty(
    *,
    unreadable: Mapping[str, Sequence[str]],
    labels_without_positives: Mapping[str, Sequence[str]],
    labels_without_negatives: Sequence[str] = (),
    empty_predicted_share: float = 0.0,
    empty_true_share: float = 0.0,
) -> Detection | None:
    """EMPTY: something that should hold a thing holds none.

    `unreadable`: split -> documents without one token the model knows. `labels_without_positives`: split ->
    labels no document of it carries. `labels_without_negatives`: labels every training document carries. The
    shares are of documents without any label, predicted and true.
    """
    found = []
    for split, documents in unreadable.items():
        if documents:
            hold = counted(len(documents), f"{split} document holds", f"{split} documents hold")
            found.append(f"{hold} no token the model knows")
    for split, labels in labels_without_positives.items():
        if labels:
            lacking = counted(len(labels), "label is", "labels are")
            found.append(f"{lacking} on no {split} document ({', '.join(labels[:3])})")
    if labels_without_negatives:
        named = ", ".join(labels_without_negatives[:3])
        everywhere = counted(len(labels_without_negatives), "label is", "labels are")
        found.append(f"{everywhere} on every train document ({named})")
    if empty_predicted_share > empty_true_share + EMPTY_SHARE:
        found.append(
            f"{empty_predicted_share:.0%} of documents get no label where {empty_true_share:.0%} have none"
        )
    if not found:
        return None
    return Detection(
        event="EMPTY",
        severity="warning",
        message="; ".join(found) + ".",
        data={
            "unreadable": {split: list(documents) for split, documents in unreadable.items()},
            "labels_without_positives": {split: list(v) for split, v in labels_without_positives.items()},
            "labels_without_negatives": list(labels_without_negatives),
            "empty_predicted_share": empty_predicted_share,
            "empty_true_share": empty_true_share,
        },
    )


def detect_truncated(
    *,
    tokens_seen: NDArray[np.integer],
    tokens_total: NDArray[np.integer],
    truth: Matrix | None = None,
    predicted: Matrix | None = None,
) -> Detection | None:
    """TRUNCATED: less than 90 % of all tokens is read. (docs,) token counts; micro-F1 by length if given.

    F1 is given for buckets of `tokens_total`; a bucket without true or predicted labels counts as 0.
    """
    total = int(tokens_total.sum())
    share = float(tokens_seen.sum()) / total if total else 1.0
    if share >= TRUNCATED_SHARE:
        return None
    cut = int((tokens_seen < tokens_total).sum())
    buckets = {} if truth is None or predicted is None else f1_by_length(tokens_total, truth, predicted)
    return Detection(
        event="TRUNCATED",
        severity="info",
        message=f"The model reads {share:.0%} of all tokens; it cuts {cut:,} of "
        f"{counted(len(tokens_total), 'document')}. Consider more tokens, head_tail or a chunk strategy.",
        data={"share_seen": share, "documents_cut": cut, "f1_by_length": buckets},
    )


def f1_by_length(tokens: NDArray[np.integer], truth: Matrix, predicted: Matrix) -> dict[str, float]:
    """Micro-F1 per bucket of token counts; buckets without documents are left out."""
    buckets = np.digitize(tokens, LENGTH_EDGES[1:])
    return {
        _bucket_name(int(bucket)): float(
            total(count(truth[buckets == bucket], predicted[buckets == bucket])).f1
        )
        for bucket in np.unique(buckets)
    }


def _bucket_name(bucket: int) -> str:
    low = LENGTH_EDGES[bucket]
    return f"{low}+" if bucket == len(LENGTH_EDGES) - 1 else f"{low}-{LENGTH_EDGES[bucket + 1] - 1}"
