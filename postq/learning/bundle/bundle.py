"""A verified bundle: where it lies, what it predicts, and the fingerprint of its predictions."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from postq.contracts.recipes import BundleRecipe
from postq.learning.bundle.manifest import BundleKind, Manifest
from postq.learning.thresholds.threshold_set import ThresholdSet, threshold_digest

SCORING_VERSION = 1
"""Raised when the scoring code changes so that equal weights give different scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle folder whose files were checked against its manifest."""

    path: Path
    digest: str
    """SHA-256 (hex) over the manifest, and so over every file."""
    model_digest: str
    """SHA-256 (hex) over what decides scores only; thresholds and reports may differ."""
    kind: BundleKind
    name: str
    labels: tuple[str, ...]
    thresholds: ThresholdSet
    manifest: Manifest
    recipe: BundleRecipe
    """How the model was trained or made."""

    @property
    def score_space(self) -> str:
        """Which space the model's scores live in; thresholds of another are refused."""
        return self.manifest.score_space


def describe_bundle(
    path: Path, *, manifest: Manifest, labels: tuple[str, ...], thresholds: ThresholdSet
) -> Bundle:
    """The bundle at `path`, which the caller has just written or verified."""
    return Bundle(
        path=path,
        digest=manifest.digest,
        model_digest=manifest.model_digest,
        kind=manifest.kind,
        name=manifest.name,
        labels=labels,
        thresholds=thresholds,
        manifest=manifest,
        recipe=manifest.parsed_recipe(),
    )


def fingerprint(bundle: Bundle, *, thresholds: ThresholdSet | None = None) -> bytes:
    """16 bytes that change whenever a prediction could by more than rounding: model, labels, thresholds,
    preprocessing, code.

    `thresholds` stands in for the bundle's own, as after `postq rethreshold`. Metrics, the model card and
    library versions do not take part, so that training the same model again gives the same fingerprint.
    """
    decided_by = thresholds or bundle.thresholds
    parts = (
        bundle.model_digest,
        threshold_digest(decided_by),
        str(bundle.manifest.preprocessing),
        str(SCORING_VERSION),
    )
    return hashlib.sha256("\n".join(parts).encode()).digest()[:16]
