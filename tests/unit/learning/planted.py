"""Truths and scores with a rule planted in them: `strong` brings `weak`, whose own scores say nothing."""

from typing import Any

import numpy as np

from postq.learning.logits import sigmoid
from postq.learning.rules.mining import TrainingLabels

LABELS = ("strong", "weak", "other")


def planted(documents: int, *, seed: int = 0, kept: float = 0.97) -> tuple[Any, Any]:
    """(docs, 3) truth and float32 scores; `kept` is how often `weak` comes with `strong`."""
    random = np.random.default_rng(seed)
    strong = random.random(documents) < 0.3
    weak = np.where(strong, random.random(documents) < kept, random.random(documents) < 0.1)
    truth = np.stack([strong, weak, random.random(documents) < 0.2], axis=1)
    logits = np.where(truth, 2.0, -2.0) + random.normal(0, 1.0, truth.shape)
    logits[:, 1] = random.normal(0, 1.0, documents)
    return truth, sigmoid(logits).astype(np.float32)


def of_training(truth: Any, labels: tuple[str, ...] = LABELS) -> TrainingLabels:
    """Every training document is a tuning document too, as out of fold."""
    return TrainingLabels(labels=labels, truth=truth, tuning_rows=np.arange(len(truth)))
