"""The thresholds of one bundle: a value per label, where it came from, and which scores it is for."""

import hashlib
import json
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from postq.contracts.recipes import ThresholdMethod
from postq.contracts.record import Record, is_none
from postq.contracts.rules import RuleSet
from postq.counted import counted
from postq.errors import IntegrityError, LabelSetMismatch
from postq.learning.thresholds.decision import Decision

NEVER = 2.0
"""A threshold no probability reaches: the label is never predicted."""

ThresholdSource = Literal[
    "half", "global", "exact", "bagged", "shrunk", "micro", "micro_macro", "fallback_few_positives"
]
TunedOn = Literal["nothing", "validation", "out_of_fold"]


class LabelThreshold(Record):
    """One label's threshold: predicted when score >= threshold."""

    label: str
    threshold: float
    source: ThresholdSource
    positives: int
    """Positive documents the threshold was tuned on."""
    interval: tuple[float, float] | None = None
    """5th and 95th percentile of the tuned threshold over bootstrap resamples."""
    expected_precision: float | None = None
    """On the tuning documents; None where nothing is predicted."""
    expected_recall: float | None = None
    """On the tuning documents; None where there are no positives."""


class ThresholdSet(Record):
    """Thresholds of every label of one model, valid for that model's scores only."""

    method: ThresholdMethod
    score_space: str
    """Which scores these cut, e.g. `probability/balanced`; scores of another space are refused."""
    tuned_on: TunedOn
    documents: int
    """Documents the thresholds were tuned on."""
    global_threshold: float
    """The one threshold that is best for micro-F1 on the same documents."""
    labels: tuple[LabelThreshold, ...]
    model_digest: str | None = None
    """Digest of the model's files; None only before the bundle is written."""
    rules: RuleSet | None = Field(None, exclude_if=is_none)
    """Rules between labels that were worth keeping; left out of files where there are none."""

    @model_validator(mode="after")
    def _rules_speak_of_these_labels(self) -> "ThresholdSet":
        unknown = self.rules.names - set(self.names) if self.rules is not None else frozenset()
        if unknown:
            raise ValueError(f"a rule names '{min(unknown)}', which is no label")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Label names in the column order of the scores."""
        return tuple(entry.label for entry in self.labels)

    @property
    def values(self) -> NDArray[np.float64]:
        """(labels,) thresholds."""
        return np.array([entry.threshold for entry in self.labels], dtype=np.float64)

    @property
    def decision(self) -> Decision:
        """What decides which labels are predicted."""
        plain = Decision.at(self.values)
        return plain if self.rules is None else plain.with_rules(self.rules.rules, self.names)

    def decide(self, scores: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(docs, labels) predictions for (docs, labels) probabilities."""
        return self.decision.decide(scores)

    def bound_to(self, model_digest: str) -> "ThresholdSet":
        """The same thresholds, tied to one model."""
        return self.model_copy(update={"model_digest": model_digest})

    def require_match(self, *, labels: tuple[str, ...], score_space: str, model_digest: str) -> None:
        """Refuse scores of other labels (LabelSetMismatch), another space or model (IntegrityError)."""
        if self.names != labels:
            raise LabelSetMismatch(
                f"The thresholds are for {counted(len(self.names), 'label')}, not for the model's "
                f"{len(labels)}.",
                hint="Tune thresholds on this model's own scores with `postq rethreshold`.",
            )
        if self.score_space != score_space:
            raise IntegrityError(
                f"The thresholds cut scores of space '{self.score_space}', not '{score_space}'.",
                hint="Tune thresholds on this model's own scores with `postq rethreshold`.",
            )
        if self.model_digest != model_digest:
            raise IntegrityError(
                "The thresholds were tuned for another model's scores.",
                hint="Tune thresholds on this model's own scores with `postq rethreshold`.",
            )


def threshold_digest(thresholds: ThresholdSet) -> str:
    """SHA-256 (hex) over what decides labels: names, values, score space and rules, not the provenance."""
    facts: list[object] = [
        thresholds.score_space,
        thresholds.names,
        [float(value).hex() for value in thresholds.values],
    ]
    if thresholds.rules is not None:
        facts.append(sorted([each.kind, each.given, each.other] for each in thresholds.rules.rules))
    return hashlib.sha256(json.dumps(facts, ensure_ascii=True).encode()).hexdigest()
