"""A bundle folder as reports read it: checked against its manifest, then its descriptive files only."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from postq.errors import BundleUnusable
from postq.learning.bundle import Bundle, open_bundle
from postq.learning.bundle.manifest import METRICS
from postq.learning.bundle.score_file import Part, ScoredPart, read_scores
from postq.learning.bundle.split_file import read_split
from postq.learning.data import SplitEntry

MAIN, BASELINE = "main", "baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBundle:
    """The verified bundle, its metrics, its split and whatever scores it kept."""

    bundle: Bundle
    metrics: Mapping[str, Any]
    split: tuple[SplitEntry, ...]
    parts: Mapping[tuple[str, Part], ScoredPart]

    def part(self, part: Part, *, model: str = MAIN) -> ScoredPart | None:
        """Scores of a part; those of validation may be kept as `tuning`, when thresholds were tuned there."""
        found = self.parts.get((model, part))
        if found is None and part == "validation" and self.bundle.thresholds.tuned_on == "validation":
            return self.parts.get((model, "tuning"))
        return found

    @property
    def split_sizes(self) -> dict[str, int]:
        """Documents in each split."""
        found = Counter(entry.split for entry in self.split)
        return {name: found.get(name, 0) for name in ("train", "validation", "test")}

    @property
    def clusters(self) -> int:
        """Near-duplicate clusters, single documents included."""
        return len({entry.cluster for entry in self.split})

    @property
    def near_duplicates_in_test(self) -> int:
        """Test documents with a near-duplicate in another split; an official split may hold such."""
        elsewhere = {entry.cluster for entry in self.split if entry.split != "test"}
        return sum(entry.split == "test" and entry.cluster in elsewhere for entry in self.split)


def read_bundle(folder: Path, *, expected_digest: str | None = None) -> StoredBundle:
    """Verify and read; loads no weights. Raises BundleUnusable and DigestMismatch, as opening does."""
    bundle = open_bundle(folder, expected_digest=expected_digest)
    try:
        metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        split = tuple(read_split(folder))
        parts = read_scores(folder)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise BundleUnusable(
            f"The bundle at {folder} has descriptive files that cannot be read: {exc}.",
            hint="Train the bundle again, or take in a good copy with: postq bundles add FOLDER.",
        ) from exc
    return StoredBundle(bundle=bundle, metrics=metrics, split=split, parts=parts)
