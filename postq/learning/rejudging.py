"""Judging a model again from the scores its bundle keeps, by the procedure that training uses."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from postq.contracts.recipes import ThresholdMethod
from postq.errors import BundleUnusable, NotTrainable
from postq.learning.bundle.bundle import Bundle
from postq.learning.bundle.manifest import METRICS
from postq.learning.bundle.score_file import Part, ScoredPart, read_scores
from postq.learning.deciding import tune_decision
from postq.learning.evaluation import Judged, report
from postq.learning.judging import JudgedModel
from postq.learning.rules.choosing import Proposed
from postq.learning.thresholds.threshold_set import TunedOn

MAIN, BASELINE = "main", "baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredScores:
    """The honest scores of one model, as a bundle keeps them."""

    tuning: ScoredPart
    tuned_on: TunedOn
    validation: ScoredPart | None
    test: ScoredPart | None

    @property
    def judged(self) -> dict[str, ScoredPart]:
        """By split: what is reported on."""
        found = {"validation": self.validation, "test": self.test}
        return {split: part for split, part in found.items() if part is not None}

    @property
    def parts(self) -> list[ScoredPart]:
        """What a bundle stores: validation scores only once, also where thresholds were tuned on them."""
        return [self.tuning, *(part for part in self.judged.values() if part is not self.tuning)]


def stored_scores(bundle: Bundle, *, metrics: Mapping[str, Any], model: str = MAIN) -> StoredScores:
    """The scores kept in a verified bundle's folder. Raises NotTrainable when it kept none to tune on."""
    found = read_scores(bundle.path)
    tuning = found.get((model, "tuning"))
    if tuning is None:
        raise NotTrainable(
            f"Bundle '{bundle.name}' keeps no scores to tune thresholds on.",
            hint="Train it again; bundles keep their scores up to 256 MiB.",
        )
    facts = metrics if model == MAIN else metrics[model]
    on: TunedOn = facts["tuning"]["on"]
    validation = found.get((model, "validation"))
    return StoredScores(
        tuning=tuning,
        tuned_on=on,
        validation=tuning if validation is None and on == "validation" else validation,
        test=found.get((model, "test")),
    )


def read_metrics(bundle: Bundle) -> dict[str, Any]:
    """The bundle's metrics.json. Raises BundleUnusable."""
    try:
        metrics: dict[str, Any] = json.loads((bundle.path / METRICS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise BundleUnusable(
            f"{METRICS} of the bundle at {bundle.path} cannot be read.",
            hint="Train the bundle again, or take in a good copy with: postq bundles add FOLDER.",
        ) from exc
    return metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownCounts:
    """What a report says besides the scores: it is not stored with them, so it comes from older reports."""

    training_support: NDArray[np.int64] | None = None
    """(labels,) training documents per label."""
    unlearned: Mapping[str, int] | None = None
    """By split: label mentions the model does not know."""


def known_counts(metrics: Mapping[str, Any]) -> KnownCounts:
    """The counts in a bundle's metrics."""
    reports = {split: metrics[split] for split in ("validation", "test") if metrics.get(split)}
    rows: list[dict[str, Any]] = next((found["by_label"] for found in reports.values()), [])
    support = [row["training_support"] for row in rows]
    known = bool(support) and all(value is not None for value in support)
    return KnownCounts(
        training_support=np.array(support, np.int64) if known else None,
        unlearned={split: found["unlearned_mentions"] for split, found in reports.items()},
    )


def rejudge(
    scores: StoredScores,
    *,
    labels: tuple[str, ...],
    method: ThresholdMethod,
    score_space: str,
    counts: KnownCounts,
    seed: int,
    proposed: Proposed | None = None,
) -> JudgedModel:
    """Tune by `method`, with the rules proposed, on the tuning scores; report as training does."""
    decided = tune_decision(
        scores.tuning.truth,
        scores.tuning.scores,
        labels=labels,
        method=method,
        score_space=score_space,
        on=scores.tuned_on,
        proposed=proposed,
        seed=seed,
    )
    judged = {split: _judged(part, split, counts) for split, part in scores.judged.items()}
    return JudgedModel(
        thresholds=decided.thresholds,
        tuning=decided.figures,
        rules=decided.rules,
        reports={split: report(one, decided.thresholds, seed=seed) for split, one in judged.items()},
        judged=judged,
        parts=scores.parts,
    )


def relabelled(part: ScoredPart, name: Part, scores: NDArray[np.float32]) -> ScoredPart:
    """The same documents with other scores, as another part."""
    return ScoredPart(
        part=name,
        model=MAIN,
        document_ids=part.document_ids,
        word_counts=part.word_counts,
        truth=part.truth,
        scores=scores,
    )


def _judged(part: ScoredPart, split: str, counts: KnownCounts) -> Judged:
    return Judged(
        truth=part.truth,
        scores=part.scores,
        word_counts=part.word_counts,
        unlearned=(counts.unlearned or {}).get(split, 0),
        training_support=counts.training_support,
    )
