"""A bundle in short: the few facts its row keeps, so that listings need not open its files."""

from collections.abc import Mapping
from typing import Any

from postq.learning.bundle.bundle import Bundle
from postq.learning.rules.telling import rules_in_short


def in_short(bundle: Bundle, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Digests, counts, the comparison rows and what detectors said; `metrics` are those of its metrics.json.

    Raises KeyError, TypeError or AttributeError for metrics that postq did not write.
    """
    return {
        "digest": bundle.digest,
        "model_digest": bundle.model_digest,
        "kind": bundle.kind,
        "labels": len(bundle.labels),
        "documents": metrics["data"]["documents"],
        "comparison": metrics["comparison"],
        "against_baseline": metrics["against_baseline"],
        "detections": [found["event"] for found in metrics["detections"]],
        **rules_in_short(metrics),
    }
