"""The table of labels: figures on the documents judged, thresholds with their provenance, by support."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from postq.learning.bootstrap import f1_by_label_samples
from postq.learning.bundle.score_file import ScoredPart
from postq.learning.thresholds.threshold_set import LabelThreshold, ThresholdSet
from postq.reports.content import LabelRow
from postq.reports.estimate import estimate

SAMPLES = 500
SOURCES: Mapping[str, str] = {
    "half": "fixed at 0.5",
    "global": "global",
    "exact": "exact",
    "bagged": "bagged",
    "shrunk": "bagged, shrunk",
    "micro": "micro-optimal",
    "micro_macro": "micro + macro",
    "fallback_few_positives": "global, too few positives",
}


def label_rows(
    facts: Sequence[Mapping[str, Any]], thresholds: ThresholdSet, part: ScoredPart | None
) -> tuple[LabelRow, ...]:
    """One row a label, the best supported first; `part` holds the scores behind `facts`, where kept."""
    cuts = {entry.label: entry for entry in thresholds.labels}
    bounds = f1_intervals(part, thresholds)
    rows = [_row(one, cuts[one["label"]], bounds.get(one["label"])) for one in facts]
    return tuple(sorted(rows, key=lambda row: (-row.support, -(row.training_support or 0), row.label)))


def f1_intervals(part: ScoredPart | None, thresholds: ThresholdSet) -> dict[str, tuple[float, float]]:
    """95 % percentile interval of each label's F1 over bootstrap draws of documents; {} without scores."""
    if part is None or not len(part.truth):
        return {}
    samples = f1_by_label_samples(part.truth, thresholds.decide(part.scores), samples=SAMPLES)
    return {
        name: bounds
        for name, column in zip(thresholds.names, samples[1:].T, strict=True)
        if (bounds := percentiles(column)) is not None
    }


def percentiles(column: NDArray[np.float64]) -> tuple[float, float] | None:
    """2.5th and 97.5th percentile of the draws that gave a figure; None when fewer than half did."""
    known = column[np.isfinite(column)]
    if len(known) < len(column) / 2 or not len(known):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def _row(facts: Mapping[str, Any], cut: LabelThreshold, f1_bounds: tuple[float, float] | None) -> LabelRow:
    seen = bool(facts["support"] or facts["predicted"])
    return LabelRow(
        label=str(facts["label"]),
        support=int(facts["support"]),
        training_support=facts.get("training_support"),
        predicted=int(facts["predicted"]),
        f1=estimate(facts["f1"] if seen else None, f1_bounds),
        precision=estimate(facts["precision"] if facts["predicted"] else None, facts["precision_interval"]),
        recall=estimate(facts["recall"] if facts["support"] else None, facts["recall_interval"]),
        average_precision=facts["average_precision"],
        threshold=estimate(cut.threshold, cut.interval),
        source=SOURCES.get(cut.source, cut.source),
        tuned_on_positives=cut.positives,
    )
