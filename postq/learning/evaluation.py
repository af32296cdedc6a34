"""The full report of one model on one set of documents, and the search for leaked ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from postq.contracts.document import Document
from postq.counted import counted
from postq.errors import LabelSetMismatch, NotTrainable
from postq.learning.bootstrap import f1_samples, interval
from postq.learning.bundle.bundle import Bundle
from postq.learning.data import SplitEntry
from postq.learning.labels import indicator_matrix, unlearned_mentions
from postq.learning.metrics.breakdown import by_label, by_length
from postq.learning.metrics.counts import summary
from postq.learning.metrics.ranking import mean_average_precision
from postq.learning.metrics.reliability import brier_score, expected_calibration_error, reliability_bins
from postq.learning.thresholds.decision import apply_thresholds
from postq.learning.thresholds.threshold_set import ThresholdSet
from postq.learning.thresholds.tuning import HALF

TRACKS = ("all", "labelled")
"""`labelled` leaves out documents that carry none of the bundle's labels."""
CUTS = ("half", "global", "default")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Scores beside the truth, for one set of documents."""

    truth: NDArray[np.bool_]
    """(docs, labels)"""
    scores: NDArray[np.float32]
    """(docs, labels) probabilities."""
    word_counts: NDArray[np.int64]
    unlearned: int = 0
    """Label mentions on these documents that the model does not know."""
    unlearned_labelled: int | None = None
    """Of these, the ones on documents with a label that it does know; None where that was not kept."""
    training_support: NDArray[np.int64] | None = None
    """(labels,) training documents per label, where known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A document to be evaluated that the bundle was trained or tuned on, or a near-duplicate of one."""

    document_id: str
    seen_as: str
    split: Literal["train", "validation"]
    kind: Literal["same_text", "near_duplicate"]


def judge(
    documents: Sequence[Document],
    scores: NDArray[np.floating],
    *,
    labels: tuple[str, ...],
    training_support: NDArray[np.int64] | None = None,
) -> Judged:
    """Put scores beside the documents' own labels."""
    truth = indicator_matrix(documents, labels)
    labelled = [documents[row] for row in np.flatnonzero(truth.any(axis=1)).tolist()]
    return Judged(
        truth=truth,
        scores=np.asarray(scores, np.float32),
        word_counts=np.array([document.word_count for document in documents], np.int64),
        unlearned=unlearned_mentions(documents, labels),
        unlearned_labelled=unlearned_mentions(labelled, labels),
        training_support=training_support,
    )


def evaluate_bundle(
    bundle: Bundle, documents: Sequence[Document], scores: NDArray[np.floating], *, seed: int = 42
) -> dict[str, Any]:
    """The report of a bundle on documents whose (docs, labels) scores it gave.

    Raises NotTrainable when no document carries any label the bundle knows, LabelSetMismatch when scores
    and documents do not fit.
    """
    if scores.shape != (len(documents), len(bundle.labels)):
        raise LabelSetMismatch(
            f"Scores {scores.shape} do not fit {counted(len(documents), 'document')} and "
            f"{counted(len(bundle.labels), 'label')}.",
            hint="Score these documents with this bundle.",
        )
    judged = judge(documents, scores, labels=bundle.labels)
    if not judged.truth.any():
        raise NotTrainable(
            "None of the documents carries a label the bundle knows, so there is nothing to evaluate.",
            hint="Evaluate on a corpus labelled with the bundle's labels (`postq bundles show`).",
        )
    return report(judged, bundle.thresholds, seed=seed)


def report(judged: Judged, thresholds: ThresholdSet, *, seed: int = 42) -> dict[str, Any]:
    """Every metric at 0.5, the global and the default thresholds, on both tracks; ready for JSON."""
    labelled = np.asarray(judged.truth.any(axis=1))
    supported = np.asarray(judged.truth.any(axis=0))
    predictions = {cut: _decided(judged.scores, thresholds, cut) for cut in CUTS}
    default = predictions["default"]
    return {
        "documents": len(labelled),
        "labelled_documents": int(labelled.sum()),
        "unlearned_mentions": judged.unlearned,
        "labels_without_support": [
            name for name, known in zip(thresholds.names, supported, strict=True) if not known
        ],
        "tracks": {track: _track(judged, predictions, track, seed) for track in TRACKS},
        "without_label": {cut: _false_positives(predictions[cut][~labelled]) for cut in CUTS},
        "ranking": {"map": mean_average_precision(judged.truth, judged.scores)},
        "calibration": {
            "brier": brier_score(judged.truth, judged.scores),
            "ece": expected_calibration_error(judged.truth, judged.scores),
            "bins": reliability_bins(judged.truth, judged.scores),
        },
        "by_label": by_label(
            judged.truth,
            default,
            judged.scores,
            labels=thresholds.names,
            training_support=judged.training_support,
        ),
        "by_length": by_length(judged.truth, default, judged.word_counts),
    }


def _decided(scores: NDArray[np.floating], thresholds: ThresholdSet, cut: str) -> NDArray[np.bool_]:
    """(docs, labels) predictions at one of CUTS; rules between labels belong to the default."""
    if cut == "default":
        return thresholds.decide(scores)
    return apply_thresholds(scores, HALF if cut == "half" else thresholds.global_threshold)


def _track(
    judged: Judged, predictions: Mapping[str, NDArray[np.bool_]], track: str, seed: int
) -> dict[str, Any]:
    rows = np.ones(len(judged.truth), np.bool_)
    if track == "labelled":
        rows = np.asarray(judged.truth.any(axis=1))
    return {cut: _cut(judged, predicted, rows, seed) for cut, predicted in predictions.items()}


def _cut(judged: Judged, predicted: NDArray[np.bool_], rows: NDArray[np.bool_], seed: int) -> dict[str, Any]:
    truth = judged.truth[rows]
    unlearned = judged.unlearned if rows.all() or not judged.unlearned else judged.unlearned_labelled
    facts = summary(truth, predicted[rows], training_support=judged.training_support, unlearned=unlearned)
    if len(truth):
        samples = f1_samples(truth, predicted[rows], samples=INTERVAL_SAMPLES, seed=seed)
        for name, values in (("micro", samples.micro), ("macro", samples.macro)):
            found = interval(values)
            facts[f"{name}_f1_interval"] = [found.low, found.high]
    return facts


INTERVAL_SAMPLES = 500
"""Bootstrap samples behind each interval of a report; comparisons between models use more."""


def _false_positives(predicted: NDArray[np.bool_]) -> dict[str, Any]:
    """On documents without any label of the list: how many get a prediction all the same."""
    if not len(predicted):
        return {"documents": 0, "with_prediction": None, "labels_per_document": None}
    return {
        "documents": len(predicted),
        "with_prediction": float(predicted.any(axis=1).mean()),
        "labels_per_document": float(predicted.sum(axis=1).mean()),
    }


def find_leaks(
    manifest: Sequence[SplitEntry],
    documents: Sequence[Document],
    *,
    near_duplicates: Mapping[str, str] | None = None,
) -> list[Leak]:
    """Documents the bundle has seen: equal content hash with a training or validation document.

    `near_duplicates` maps document ids to the id of the manifest's document they nearly equal, as
    found by the corpus room. A test document of the manifest is no leak.
    """
    seen = {entry.content_hash: entry for entry in manifest if entry.split != "test"}
    by_id = {entry.document_id: entry for entry in manifest if entry.split != "test"}
    leaks = []
    for document in documents:
        entry = seen.get(document.content_hash)
        kind: Literal["same_text", "near_duplicate"] = "same_text"
        if entry is None and near_duplicates and document.document_id in near_duplicates:
            entry, kind = by_id.get(near_duplicates[document.document_id]), "near_duplicate"
        if entry is not None and entry.split != "test":
            leaks.append(
                Leak(
                    document_id=document.document_id, seen_as=entry.document_id, split=entry.split, kind=kind
                )
            )
    return leaks
