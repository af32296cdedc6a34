"""Facets a user gave, held against the labels that are learned: what is known, unknown, and missing."""

from collections.abc import Mapping
from typing import Any

from postq.contracts.facets import Facets
from postq.errors import NotTrainable
from postq.learning.bundle.bundle import Bundle

SHOWN = 20
"""Unknown labels named; all are counted."""


def facet_facts(facets: Facets, labels: tuple[str, ...]) -> dict[str, Any]:
    """Counts of labels in both and in one only, for metrics.json and the job's events.

    Raises NotTrainable where no label is in both: the file is then for other labels.
    """
    learned, named = set(labels), set(facets.names)
    unknown = [name for name in facets.names if name not in learned]
    if not learned & named:
        raise NotTrainable(
            f"None of the {len(named):,} labels that have facets is among the {len(labels):,} learned.",
            hint=f"Write them as the corpus does, such as '{labels[0]}'.",
        )
    return {
        "labels": len(learned & named),
        "unknown": len(unknown),
        "unknown_labels": unknown[:SHOWN],
        "without": len(learned - named),
        "sentence": facets.sentence(),
    }


def facets_sentence(facts: Mapping[str, Any]) -> str:
    """What fits and what does not."""
    told = f"Of the learned labels {facts['labels']:,} have facets and {facts['without']:,} have none"
    if not facts["unknown"]:
        return f"{told}."
    first = ", ".join(f"'{name}'" for name in facts["unknown_labels"][:3])
    more = f" and {facts['unknown'] - 3:,} more" if facts["unknown"] > 3 else ""
    return f"{told}; not learned, but in the file: {first}{more}."


def facets_of(bundle: Bundle, metrics: Mapping[str, Any], given: Facets | None) -> Facets | None:
    """Those given now, else at its last rethresholding, else those it was trained with."""
    stored = (metrics.get("facets") or {}).get("given")
    if given is None and stored is not None:
        return Facets.model_validate(stored)
    return given or getattr(bundle.recipe, "facets", None)
