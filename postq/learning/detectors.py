"""Detectors: pure functions that look at a training's facts and say what a careful reviewer would say."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from postq.contracts.document import SplitName
from postq.counted import counted
from postq.learning.data import SplitEntry
from postq.learning.metrics.counts import count, total
from postq.learning.metrics.ranking import mean_average_precision

Severity = Literal["info", "warning", "error"]
Matrix = NDArray[np.bool_]
Scores = NDArray[np.floating]

SHY_SHARE = 0.1
LOUD_SHARE = 1.8
RANKING_LIFT = 2.0
"""Mean average precision this many times that of random ranking counts as ranking well."""
NOT_LEARNING_SHARE = 0.98
DIVERGED_SHARE = 1.25
OVERFIT_SHARE = 1.05
UNDERTRAINED_GAIN = 0.005
TRUNCATED_SHARE = 0.9
THRESHOLD_GAP = 0.05
EMPTY_SHARE = 0.2
FINAL_RATE_SHARE = 0.01
LENGTH_EDGES = (0, 512, 1024, 2048, 4096, 8192, 16384)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Something worth an event on the job and a section in the report."""

    event: str
    severity: Severity
    message: str
    """One or two sentences: what was seen, and what to do about it."""
    data: Mapping[str, Any] = field(default_factory=dict)


def detect_shy(truth: Matrix, predicted: Matrix, scores: Scores) -> Detection | None:
    """SHY: at most a tenth of the true number of labels is predicted. (docs, labels) each.

    Says whether the ranking is fine, because then thresholds are at fault and not the model.
    """
    wanted, given = int(truth.sum()), int(predicted.sum())
    if wanted == 0 or given > SHY_SHARE * wanted:
        return None
    ranking, chance = mean_average_precision(truth, scores) or 0.0, _chance_precision(truth)
    fine = ranking >= RANKING_LIFT * chance
    advice = "The ranking is fine: lower the thresholds." if fine else "The ranking is poor too: train more."
    return Detection(
        event="SHY",
        severity="warning",
        message=f"{_predicted(given, wanted)} {advice}",
        data={"predicted": given, "true": wanted, "map": ranking, "chance_map": chance, "ranking_fine": fine},
    )


def detect_loud(truth: Matrix, predicted: Matrix) -> Detection | None:
    """LOUD: at least 1.8 times the true number of labels is predicted. (docs, labels) each."""
    wanted, given = int(truth.sum()), int(predicted.sum())
    if wanted == 0 or given < LOUD_SHARE * wanted:
        return None
    return Detection(
        event="LOUD",
        severity="warning",
        message=f"{_predicted(given, wanted)} Raise or tune the thresholds; a positive weight in the loss "
        "shifts every logit upwards.",
        data={"predicted": given, "true": wanted, "ratio": given / wanted},
    )


def detect_not_learning(
    history: Sequence[Mapping[str, float]], *, prior_loss: float, warmup_share: float, epochs: int
) -> Detection | None:
    """NOT_LEARNING: after warm-up no epoch's validation loss is under 0.98 of the best constant answer's."""
    judged = [entry["val_loss"] for entry in history if entry["epoch"] > warmup_share * epochs]
    if not judged or min(judged) < NOT_LEARNING_SHARE * prior_loss:
        return None
    return Detection(
        event="NOT_LEARNING",
        severity="error",
        message=f"The best validation loss, {min(judged):.4f}, is no better than that of always giving the "
        f"training shares, {prior_loss:.4f}. Check the learning rate, the labels and the text view.",
        data={"best_val_loss": min(judged), "prior_loss": prior_loss},
    )


def detect_diverged(history: Sequence[Mapping[str, float]]) -> Detection | None:
    """DIVERGED: the training loss of the last epoch is 1.25 times its lowest, or not a number."""
    losses = [entry["train_loss"] for entry in history]
    if not losses or (np.isfinite(losses[-1]) and losses[-1] < DIVERGED_SHARE * min(losses)):
        return None
    return Detection(
        event="DIVERGED",
        severity="error",
        message=f"The training loss rose from {min(losses):.4f} to {losses[-1]:.4f}; lower the rate.",
        data={"last": losses[-1], "lowest": min(losses)},
    )


def detect_overfit(history: Sequence[Mapping[str, float]]) -> Detection | None:
    """OVERFIT: validation loss ends 5 % above its lowest while the training loss went on falling."""
    if len(history) < 2:
        return None
    validation = [entry["val_loss"] for entry in history]
    lowest = int(np.argmin(validation))
    falling = history[-1]["train_loss"] < history[lowest]["train_loss"]
    if not falling or validation[-1] < OVERFIT_SHARE * validation[lowest]:
        return None
    epoch = history[lowest]["epoch"]
    return Detection(
        event="OVERFIT",
        severity="warning",
        message=f"Validation loss was lowest in epoch {epoch:.0f} ({validation[lowest]:.4f}) and rose to "
        f"{validation[-1]:.4f} while the training loss fell. The best epoch is kept; train shorter.",
        data={"lowest_epoch": epoch, "lowest": validation[lowest], "last": validation[-1]},
    )


def detect_nan(dropped: Sequence[str]) -> Detection | None:
    """NAN: documents whose loss or gradient was not a number were left out of training."""
    if not dropped:
        return None
    return Detection(
        event="NAN",
        severity="warning",
        message=f"Left out of training: {counted(len(dropped), 'document')} whose loss is not a number, "
        f"{', '.join(dropped[:5])}.",
        data={"documents": list(dropped)},
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


def detect_schedule(
    *,
    optimizer_steps: int,
    scheduler_steps: int,
    planned_steps: int,
    warmup_steps: int,
    warmup_share: float,
    final_rate: float,
    peak_rate: float,
) -> Detection | None:
    """SCHEDULE: the learning rate did not do what the recipe says.

    `planned_steps` are the optimizer steps of all epochs, `warmup_steps` those over which the rate rose,
    `final_rate` the rate after the last step taken. A training stopped early is judged by where the decay
    should be then.
    """
    left = max(0.0, (planned_steps - optimizer_steps) / max(1, planned_steps - warmup_steps))
    found = []
    if optimizer_steps != scheduler_steps:
        found.append(
            f"{counted(scheduler_steps, 'schedule step')} for {counted(optimizer_steps, 'optimizer step')}"
        )
    if abs(final_rate / peak_rate - min(1.0, left)) > FINAL_RATE_SHARE and optimizer_steps >= warmup_steps:
        found.append(f"the final rate is {final_rate / peak_rate:.0%} of the peak, not {min(1.0, left):.0%}")
    if abs(warmup_steps - warmup_share * planned_steps) > 1:
        found.append(f"warm-up took {warmup_steps / planned_steps:.0%} of all steps, not {warmup_share:.0%}")
    if not found:
        return None
    return Detection(
        event="SCHEDULE",
        severity="warning",
        message=f"The learning rate schedule is off: {'; '.join(found)}. Count it in optimizer steps.",
        data={
            "optimizer_steps": optimizer_steps,
            "scheduler_steps": scheduler_steps,
            "planned_steps": planned_steps,
            "warmup_steps": warmup_steps,
            "final_rate": final_rate,
            "peak_rate": peak_rate,
        },
    )


def detect_undertrained(
    history: Sequence[Mapping[str, float]], *, select_on: str, planned_epochs: int
) -> Detection | None:
    """UNDERTRAINED: all planned epochs ran and the selection metric still rose clearly in the last one."""
    values = [entry["selected"] for entry in history]
    if len(values) < max(2, planned_epochs):
        return None
    gain = values[-1] - max(values[:-1])
    if gain < UNDERTRAINED_GAIN:
        return None
    return Detection(
        event="UNDERTRAINED",
        severity="info",
        message=f"{select_on} still rose by {gain:.3f} in the last epoch. More epochs would probably help.",
        data={"gain": gain, "last": values[-1], "epochs": len(values)},
    )


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


def detect_threshold_overfit(*, resubstituted_f1: float, cross_fitted_f1: float) -> Detection | None:
    """THRESHOLD_OVERFIT: F1 on the tuning documents exceeds its cross-fitted estimate by over 0.05."""
    gap = resubstituted_f1 - cross_fitted_f1
    if gap <= THRESHOLD_GAP:
        return None
    return Detection(
        event="THRESHOLD_OVERFIT",
        severity="warning",
        message=f"Thresholds give F1 {resubstituted_f1:.3f} on the documents they were tuned on, but "
        f"{cross_fitted_f1:.3f} cross-fitted. Use bagged, shrunk or global thresholds.",
        data={"resubstituted_f1": resubstituted_f1, "cross_fitted_f1": cross_fitted_f1, "gap": gap},
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


def _predicted(given: int, wanted: int) -> str:
    return f"The model predicts {counted(given, 'label')} where {counted(wanted, 'is', 'are')} true."


def _chance_precision(truth: Matrix) -> float:
    share = truth.mean(axis=0)
    return float(share[share > 0].mean())


def _bucket_name(bucket: int) -> str:
    low = LENGTH_EDGES[bucket]
    return f"{low}+" if bucket == len(LENGTH_EDGES) - 1 else f"{low}-{LENGTH_EDGES[bucket + 1] - 1}"
