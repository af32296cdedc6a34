"""What a report says, as frozen data: the page, the terminal and the JSON are three views of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from postq.reports.estimate import Estimate

CUTS: Mapping[str, str] = {
    "half": "at 0.5",
    "global": "one threshold",
    "default": "default thresholds",
    "cross_fitted": "default, cross-fitted",
}
"""The ways to cut scores into labels, and their names in tables."""
PLACES: Mapping[str, str] = {
    "test": "test",
    "validation": "validation",
    "all": "the whole corpus",
    "out_of_fold": "training, out of fold",
    "tuning": "tuning documents",
}
"""Where a figure was measured, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One model, on one set of documents, at one kind of threshold."""

    model: str
    on: str
    cut: str
    micro: Estimate
    macro: Estimate
    precision: float | None
    recall: float | None
    labels_per_document: float | None
    exact_match: float | None
    mean_average_precision: float | None

    @property
    def cut_name(self) -> str:
        """The cut in words."""
        return CUTS.get(self.cut, self.cut)

    @property
    def place(self) -> str:
        """Where it was measured, in words."""
        return PLACES.get(self.on, self.on)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The model against its baseline: main − baseline with the paired interval, and who wins."""

    micro: Estimate
    macro: Estimate
    sentence: str
    micro_clear: bool
    macro_clear: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackRow:
    """One track at one cut."""

    track: str
    cut: str
    documents: int
    micro: Estimate
    macro: Estimate

    @property
    def cut_name(self) -> str:
        """The cut in words."""
        return CUTS.get(self.cut, self.cut)


@dataclass(frozen=True, slots=True, kw_only=True)
class FalsePositives:
    """What a cut predicts on documents that carry none of the labels."""

    cut: str
    documents: int
    with_prediction: float | None
    labels_per_document: float | None

    @property
    def cut_name(self) -> str:
        """The cut in words."""
        return CUTS.get(self.cut, self.cut)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One label: how well it is found, on how many documents, and where its threshold comes from."""

    label: str
    support: int
    training_support: int | None
    predicted: int
    f1: Estimate
    precision: Estimate
    recall: Estimate
    average_precision: float | None
    threshold: Estimate
    """With the 5th to 95th percentile of the bootstrap."""
    source: str
    tuned_on_positives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A detector that fired."""

    event: str
    severity: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthRow:
    """Documents of one range of lengths."""

    name: str
    documents: int
    micro_f1: float
    macro_f1: float | None
    labels_per_document: float
    true_labels_per_document: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Brier score, expected calibration error, and the bins behind it."""

    brier: float | None
    ece: float | None
    bins: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a training went: epochs of an encoder, or candidates of C of a TF-IDF."""

    epochs: tuple[Mapping[str, float], ...] = ()
    best_epoch: int | None = None
    prior_loss: float | None = None
    candidates: Mapping[float, float] = field(default_factory=dict)
    """Mean average precision out of fold by the value of C."""
    chosen: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Points of a line; equally long."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    note: str = ""
    pooled: bool = False
    """Of all labels together, not of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Micro- and macro-F1 over one threshold for all labels."""

    thresholds: tuple[float, ...]
    micro: tuple[float, ...]
    macro: tuple[float, ...]
    global_threshold: float
    default_micro: float | None
    default_macro: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything one report says."""

    name: str
    kind: str
    subtitle: str
    watermark: str
    """Empty, or what is wrong with every figure below."""
    headline: str
    verdict: Verdict | None
    baseline_sentence: str
    on: str
    """Where the figures below were measured: test, validation or all."""
    comparison: tuple[ComparisonRow, ...]
    tracks: tuple[TrackRow, ...]
    false_positives: tuple[FalsePositives, ...]
    metrics: tuple[tuple[str, Mapping[str, float | None]], ...]
    """Every thresholded metric by cut, on all documents."""
    course: Course
    baseline_course: Course | None
    labels: tuple[LabelRow, ...]
    precision_recall: tuple[Curve, ...]
    sweep: Sweep | None
    no_curves: str
    """Why there are no curves; empty when there are."""
    calibration: Calibration
    lengths: tuple[LengthRow, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    rules: tuple[str, ...]
    """What came of rules between labels, then each that is in force; empty where none were asked for."""
    data_facts: tuple[tuple[str, str], ...]
    configuration: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    digests: tuple[tuple[str, str], ...]
    training_facts: tuple[tuple[str, str], ...]
    raw: Mapping[str, Any] = field(default_factory=dict)
    """The stored report itself, for `--json`."""
