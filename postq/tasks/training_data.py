"""From a corpus snapshot to the documents, splits and labels one training works on."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from postq.contracts.document import Document, SplitName
from postq.contracts.recipes import EncoderRecipe, TfidfRecipe
from postq.contracts.runner import RunRequest
from postq.corpus.near_duplicates import cluster_signatures, sign_documents
from postq.corpus.snapshot import SnapshotKeys, read_documents, read_keys
from postq.corpus.splits import SPLITS, SplitReport, assign_splits, describe_splits
from postq.counted import counted
from postq.errors import NotTrainable
from postq.learning.data import SplitEntry, TrainingData
from postq.learning.hooks import Hooks, StopRequested
from postq.learning.labels import decide_labels

_NO_SPLIT = None
"""Given to documents left out: those identical to one of a split further back."""


def training_data(
    request: RunRequest, recipe: TfidfRecipe | EncoderRecipe, *, corpus: str, hooks: Hooks
) -> TrainingData:
    """Read, cluster, split, and decide the labels on the training split; deterministic by seed.

    Raises NotTrainable when the corpus has no labels, or too few documents for a split or a label.
    """
    keys = read_keys(request.snapshot)
    if not any(keys.labels):
        raise NotTrainable(
            "The corpus has no labels, so nothing can be learned from it.",
            hint="Add a corpus with labels (postures, or --label-field), or choose another with --corpus.",
        )
    clusters = _clusters(request, recipe, total=len(keys), hooks=hooks)
    assigned = assign_splits(keys, recipe=recipe.split, clusters=clusters)
    _tell_split(keys, assigned, recipe=recipe, clusters=clusters, hooks=hooks)
    splits = without_repeated_content(keys, assigned)
    _tell_left_out(assigned, splits, hooks=hooks)
    labels = _labels(keys, splits, recipe=recipe)
    if not recipe.labels.keep_unlabelled:
        splits = _without_unlabelled(keys, splits, labels=labels)
    documents = _documents(request, recipe, splits)
    return TrainingData(
        train=documents["train"],
        validation=documents["validation"],
        test=documents["test"],
        labels=labels,
        manifest=_manifest(keys, splits, clusters),
        corpus=corpus,
    )


def without_repeated_content(keys: SnapshotKeys, splits: Sequence[SplitName]) -> list[SplitName | None]:
    """The splits, less the documents whose identical content lies in a split further back.

    Only official splits do that. The document leaves train (or validation), never test: so figures stay
    comparable with published ones on the same test set, and none is computed on a document trained on.
    """
    furthest: dict[bytes, int] = {}
    for content, split in zip(keys.content_hashes, splits, strict=True):
        furthest[content] = max(furthest.get(content, 0), SPLITS.index(split))
    return [
        split if SPLITS.index(split) == furthest[content] else _NO_SPLIT
        for content, split in zip(keys.content_hashes, splits, strict=True)
    ]


def _clusters(
    request: RunRequest, recipe: TfidfRecipe | EncoderRecipe, *, total: int, hooks: Hooks
) -> NDArray[np.int64]:
    def signed(done: int) -> None:
        if hooks.should_stop():
            raise StopRequested
        hooks.progress("comparing", done, total, {})

    signed(0)
    documents = read_documents(request.snapshot, view=recipe.text)
    return cluster_signatures(sign_documents(documents, progress=signed))


def _labels(
    keys: SnapshotKeys, splits: Sequence[SplitName | None], *, recipe: TfidfRecipe | EncoderRecipe
) -> tuple[str, ...]:
    carried = (labels for labels, split in zip(keys.labels, splits, strict=True) if split == "train")
    stand_ins = (
        Document(row=0, document_id="", text="", content_hash=b"", word_count=0, labels=labels)
        for labels in carried
    )
    return decide_labels(stand_ins, min_label_count=recipe.labels.min_label_count)


def _without_unlabelled(
    keys: SnapshotKeys, splits: Sequence[SplitName | None], *, labels: Sequence[str]
) -> list[SplitName | None]:
    kept = frozenset(labels)
    return [
        split if kept & set(carried) else _NO_SPLIT
        for carried, split in zip(keys.labels, splits, strict=True)
    ]


def _documents(
    request: RunRequest, recipe: TfidfRecipe | EncoderRecipe, splits: Sequence[SplitName | None]
) -> dict[SplitName, list[Document]]:
    found: dict[SplitName, list[Document]] = {name: [] for name in SPLITS}
    rows = [row for row, split in enumerate(splits) if split is not None]
    for document in read_documents(request.snapshot, rows=rows, view=recipe.text):
        split = splits[document.row]
        assert split is not None
        found[split].append(document)
    return found


def _manifest(
    keys: SnapshotKeys, splits: Sequence[SplitName | None], clusters: NDArray[np.int64]
) -> list[SplitEntry]:
    return [
        SplitEntry(
            document_id=keys.document_ids[row],
            content_hash=keys.content_hashes[row],
            cluster=int(clusters[row]),
            split=split,
        )
        for row, split in enumerate(splits)
        if split is not None
    ]


def _tell_split(
    keys: SnapshotKeys,
    splits: Sequence[SplitName],
    *,
    recipe: TfidfRecipe | EncoderRecipe,
    clusters: NDArray[np.int64],
    hooks: Hooks,
) -> None:
    report = describe_splits(keys, splits, recipe=recipe.split, clusters=clusters)
    sizes = ", ".join(f"{size:,} {name}" for name, size in report.sizes.items())
    hooks.note(
        "split",
        f"{'Official' if report.official else recipe.split.method.capitalize()} split: {sizes}."
        + _about_official(keys, report)
        + _about_crossings(report),
        {
            "official": report.official,
            "sizes": dict(report.sizes),
            "crossing": {"groups": len(report.crossing), "documents": sum(map(len, report.crossing))},
        },
    )


def _about_official(keys: SnapshotKeys, report: SplitReport) -> str:
    """What the corpus' own split did not settle."""
    if not report.official:
        return ""
    own = Counter(keys.splits)
    drawn = [name for name in SPLITS if report.sizes[name] and not own[name] and name != "train"]
    told = f" The corpus has no {' and '.join(drawn)} split: drawn from train." if drawn else ""
    if own[None]:
        told = f" {counted(own[None], 'document')} without a split count as train." + told
    return told


def _about_crossings(report: SplitReport) -> str:
    """Said before hours of training; what it does to the figures is told by LEAK once they are known."""
    if not report.crossing:
        return ""
    return f" {counted(len(report.crossing), 'group')} of near-duplicates in more than one of them."


def _tell_left_out(
    assigned: Sequence[SplitName], splits: Sequence[SplitName | None], *, hooks: Hooks
) -> None:
    left_out = Counter(name for name, kept in zip(assigned, splits, strict=True) if kept is None)
    if left_out:
        parts = " and ".join(f"{number:,} {name}" for name, number in left_out.items())
        documents = "document was" if left_out.total() == 1 else "documents were"
        hooks.note(
            "detector.leak",
            f"{parts} {documents} left out: the official validation or test split holds the same text.",
            {str(name): count for name, count in left_out.items()},
        )
