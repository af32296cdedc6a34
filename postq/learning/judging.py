"""Judging a trained model by the one procedure all models get: tune thresholds, cross-fit, report on test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from postq.contracts.document import Document
from postq.contracts.recipes import EncoderRecipe, TfidfRecipe
from postq.learning.bundle.score_file import Part, ScoredPart
from postq.learning.data import TrainingData
from postq.learning.deciding import tune_decision
from postq.learning.evaluation import CUTS, Judged, judge, report
from postq.learning.hooks import Hooks
from postq.learning.labels import indicator_matrix
from postq.learning.proposing import proposed_in_training
from postq.learning.thresholds.threshold_set import ThresholdSet, TunedOn


class Trained(Protocol):
    """What training hands over: TF-IDF and encoders alike."""

    history: list[dict[str, Any]]
    facts: dict[str, Any]

    @property
    def score_space(self) -> str:
        """Names the scores."""

    def score(self, documents: Sequence[Document], *, hooks: Hooks | None = None) -> NDArray[np.float32]:
        """(docs, labels) probabilities in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Documents with honest scores, for tuning thresholds: the model was not fitted on any it scores here."""

    documents: Sequence[Document]
    scores: NDArray[np.float32]
    on: TunedOn


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedModel:
    """A model's thresholds, its figures, and the scores behind them."""

    thresholds: ThresholdSet
    tuning: dict[str, Any]
    """Resubstituted and cross-fitted figures of the thresholds on the tuning documents."""
    reports: dict[str, dict[str, Any]]
    """By split: validation and test, where they hold documents."""
    judged: dict[str, Judged]
    parts: list[ScoredPart]
    rules: dict[str, Any] | None = None
    """How rules between labels were judged; None where none were asked for."""


def judge_model(
    trained: Trained,
    data: TrainingData,
    *,
    tuning: Tuning,
    validation: NDArray[np.float32],
    recipe: TfidfRecipe | EncoderRecipe,
    model: str,
    hooks: Hooks,
) -> JudgedModel:
    """Tune on `tuning` by the recipe's thresholds, rules and seed; report on validation and, once, on test.

    `validation` holds honest scores of the validation documents.
    """
    truth = indicator_matrix(tuning.documents, data.labels)
    hooks.progress("thresholds", 0, 1, {})
    decided = tune_decision(
        truth,
        tuning.scores,
        labels=data.labels,
        method=recipe.thresholds,
        score_space=trained.score_space,
        on=tuning.on,
        proposed=proposed_in_training(recipe, data.train, tuning.documents, data.labels),
        seed=recipe.seed,
    )
    support = indicator_matrix(data.train, data.labels).sum(axis=0)
    scored: dict[Literal["validation", "test"], tuple[Sequence[Document], NDArray[np.float32]]] = {
        "validation": (data.validation, validation),
        "test": (data.test, trained.score(data.test, hooks=hooks)),
    }
    judged = {
        split: judge(documents, scores, labels=data.labels, training_support=support)
        for split, (documents, scores) in scored.items()
        if documents
    }
    return JudgedModel(
        thresholds=decided.thresholds,
        tuning=decided.figures,
        rules=decided.rules,
        reports={
            str(split): report(one, decided.thresholds, seed=recipe.seed) for split, one in judged.items()
        },
        judged={str(split): one for split, one in judged.items()},
        parts=[
            _part("tuning", model, tuning.documents, truth, tuning.scores),
            *(
                _part(split, model, documents, judged[split].truth, scores)
                for split, (documents, scores) in scored.items()
                if documents and not (split == "validation" and tuning.on == "validation")
            ),
        ],
    )


def _part(
    part: Part,
    model: str,
    documents: Sequence[Document],
    truth: NDArray[np.bool_],
    scores: NDArray[np.float32],
) -> ScoredPart:
    return ScoredPart(
        part=part,
        model=model,
        document_ids=[document.document_id for document in documents],
        word_counts=np.array([document.word_count for document in documents], np.int64),
        truth=truth,
        scores=np.asarray(scores, np.float32),
    )


def comparison_rows(judged: JudgedModel, *, model: str, kind: str) -> list[dict[str, Any]]:
    """One row per split and thresholds, track `all`, and the cross-fitted one: what every report prints."""
    rows = [
        _row(found["tracks"]["all"][cut], model, kind, split, cut, found["ranking"]["map"])
        for split, found in judged.reports.items()
        for cut in CUTS
    ]
    cross = judged.tuning["cross_fitted"]
    return [*rows, _row(cross, model, kind, judged.tuning["on"], "cross_fitted", None)]


def _row(
    facts: Mapping[str, Any], model: str, kind: str, split: str, cut: str, ranking: float | None
) -> dict[str, Any]:
    kept = ("micro_f1", "macro_f1", "micro_precision", "micro_recall", "labels_per_document", "exact_match")
    row: dict[str, Any] = {"model": model, "kind": kind, "split": split, "thresholds": cut, "map": ranking}
    row |= {name: facts[name] for name in kept}
    return row | {name: facts.get(name) for name in ("micro_f1_interval", "macro_f1_interval")}
