"""Every detector that can speak once an encoder is trained, run over its facts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from postq.contracts.recipes import EncoderRecipe
from postq.learning import detectors
from postq.learning.data import TrainingData, labels_without_positives
from postq.learning.detectors import Detection
from postq.learning.encoder.steps.optimizer import SchedulePlan
from postq.learning.encoder.steps.state import TrainingState
from postq.learning.encoder.steps.workbench import Examples
from postq.learning.hooks import Hooks
from postq.learning.labels import labels_on_all


def review_training(
    *,
    recipe: EncoderRecipe,
    data: TrainingData,
    state: TrainingState,
    plan: SchedulePlan,
    final_rate: float,
    prior_loss: float,
    train: Examples,
    validation: Examples,
    scores: NDArray[np.float32],
    unreadable: Mapping[str, Sequence[str]],
) -> list[Detection]:
    """All detections; `scores` are the kept model's (docs, labels) validation probabilities."""
    truth = validation.targets.numpy() > 0.5
    predicted = scores >= 0.5
    found = [
        detectors.detect_leak(data.manifest),
        detectors.detect_shy(truth, predicted, scores),
        detectors.detect_loud(truth, predicted),
        detectors.detect_nan([train.names[i] for i in state.dropped]),
        detectors.detect_empty(
            unreadable=unreadable,
            labels_without_positives=labels_without_positives(data),
            labels_without_negatives=labels_on_all(data.train, data.labels),
            empty_predicted_share=float((~predicted.any(axis=1)).mean()),
            empty_true_share=float((~truth.any(axis=1)).mean()),
        ),
        detectors.detect_truncated(
            tokens_seen=np.array([text.tokens_seen for text in validation.texts]),
            tokens_total=np.array([text.tokens_total for text in validation.texts]),
            truth=truth,
            predicted=predicted,
        ),
        *_about_course(recipe, state, plan, final_rate=final_rate, prior_loss=prior_loss),
    ]
    return [detection for detection in found if detection is not None]


def _about_course(
    recipe: EncoderRecipe, state: TrainingState, plan: SchedulePlan, *, final_rate: float, prior_loss: float
) -> Iterator[Detection | None]:
    history: Sequence[Mapping[str, Any]] = state.history
    yield detectors.detect_not_learning(
        history, prior_loss=prior_loss, warmup_share=recipe.warmup_share, epochs=recipe.epochs
    )
    yield detectors.detect_diverged(history)
    yield detectors.detect_overfit(history)
    yield detectors.detect_undertrained(history, select_on=recipe.select_on, planned_epochs=recipe.epochs)
    yield detectors.detect_schedule(
        optimizer_steps=state.optimizer_steps,
        scheduler_steps=state.scheduler_steps,
        planned_steps=plan.optimizer_steps,
        warmup_steps=plan.warmup_steps,
        warmup_share=recipe.warmup_share,
        final_rate=final_rate,
        peak_rate=recipe.learning_rate,
    )


def tell(detections: Sequence[Detection], hooks: Hooks) -> None:
    """Report each detection as a note."""
    for found in detections:
        hooks.note(found.event, found.message, {"severity": found.severity, **found.data})
