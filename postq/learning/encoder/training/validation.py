"""One pass over the validation split: losses, ranking and the number the best epoch is chosen by."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from postq.errors import LossNotFinite
from postq.learning.encoder.forward.inference import TokenBudget, document_logits
from postq.learning.encoder.scoring.space import EncoderSettings
from postq.learning.encoder.steps.losses import plain_bce
from postq.learning.encoder.steps.workbench import Examples, Workbench
from postq.learning.encoder.training.selection import micro_f1, selection_value
from postq.learning.hooks import StopRequested


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What one epoch's model does on the validation split."""

    scores: NDArray[np.float32]
    """(docs, labels) probabilities; 0 where the model gave no number."""
    metrics: dict[str, float]


def validate(
    bench: Workbench, examples: Examples, settings: EncoderSettings, *, budget: TokenBudget
) -> Validation:
    """Score the split in eval mode, each rank a part of it, all with the whole answer.

    Draws no random numbers, so it leaves a resumed training unchanged.
    """
    bench.runs.eval()
    try:
        logits = _logits(bench, examples, settings, budget=budget)
    finally:
        bench.runs.train()
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(logits).all(axis=1))
    if not finite.any():
        raise LossNotFinite(
            "The model answers NaN for every validation document.",
            hint="Lower the learning rate, or start from an undamaged backbone.",
        )
    return _judge(bench, examples, settings, logits=logits, finite=finite)


def _logits(
    bench: Workbench, examples: Examples, settings: EncoderSettings, *, budget: TokenBudget
) -> NDArray[np.float32]:
    mine = bench.ranks.share(np.arange(len(examples.texts)), examples.lengths)
    done = 0

    def look_up() -> None:
        moved = min(done * bench.ranks.size, len(examples.texts))
        bench.hooks.progress("validating", moved, len(examples.texts), {})
        if bench.hooks.should_stop():
            raise StopRequested

    logits = np.zeros(tuple(examples.targets.shape), dtype=np.float32)
    batches = document_logits(
        bench.runs,
        [[examples.texts[i] for i in mine]],
        budget=budget,
        pooling=settings.pooling,
        precision=bench.recipe.precision,
        before_batch=look_up,
    )
    stopped = False
    try:
        for indices, values in batches:
            logits[mine[indices]] = values[:, : logits.shape[1]]  # facet targets come after
            done += len(indices)
    except StopRequested:  # the others must hear of it, or they would wait for this part
        stopped = True
    if bench.ranks.any(stopped):
        raise StopRequested
    return bench.ranks.sum_rows(logits)


def _judge(
    bench: Workbench,
    examples: Examples,
    settings: EncoderSettings,
    *,
    logits: NDArray[np.float32],
    finite: NDArray[np.bool_],
) -> Validation:
    """Without a positive among the validation documents no metric says anything; the loss still does."""
    judged = torch.from_numpy(logits[finite]).to(bench.device)
    targets = examples.targets[torch.from_numpy(finite)].to(bench.device)
    scores = np.zeros_like(logits)
    scores[finite] = settings.probabilities(logits[finite])
    truth = examples.targets.numpy() > 0.5
    val_loss = float(bench.loss(judged, targets).mean())
    metrics = {
        "val_loss": val_loss,
        "val_loss_unweighted": float(plain_bce(judged, targets).mean()),
        "val_map": selection_value("map", truth, scores),
        "val_micro_f1": micro_f1(truth, scores >= 0.5),
        "selected": selection_value(bench.recipe.select_on, truth, scores) if truth.any() else -val_loss,
        "val_not_finite": float((~finite).sum()),
    }
    return Validation(scores=scores, metrics=metrics)
