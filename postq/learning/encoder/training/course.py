"""The course of a training: from a fresh or resumed state to its end, in this process, alone or as a rank."""

from dataclasses import dataclass
from pathlib import Path

import torch

from postq.learning.encoder.backbones.loading import Backbone
from postq.learning.encoder.checkpoints.resume import CheckpointWriter, restore_newest
from postq.learning.encoder.forward.calling import runnable_form
from postq.learning.encoder.forward.compute import placed
from postq.learning.encoder.forward.inference import TokenBudget
from postq.learning.encoder.ranks.agreement import ALONE, Ranks
from postq.learning.encoder.steps.losses import build_loss
from postq.learning.encoder.steps.optimizer import build_optimizer, build_scheduler
from postq.learning.encoder.steps.state import TrainingState
from postq.learning.encoder.steps.window import enable_gradient_checkpointing
from postq.learning.encoder.steps.workbench import Weights, Workbench
from postq.learning.encoder.training.head import start_at_prior
from postq.learning.encoder.training.loop import TrainingLoop
from postq.learning.encoder.training.prepared import Prepared
from postq.learning.encoder.training.validation import Validation
from postq.learning.hooks import Hooks

CHECKPOINT_MINUTES = 10.0


@dataclass(frozen=True, kw_only=True)
class Orders:
    """How a training is to be carried out; nothing here changes what it learns."""

    tokens: int
    """The most tokens in a micro-batch of one process."""
    checkpoints: Path | None = None
    resume_from: Path | None = None
    checkpoint_minutes: float = CHECKPOINT_MINUTES
    checkpoint_steps: int | None = None


@dataclass(frozen=True, kw_only=True)
class Course:
    """What a training came to."""

    state: TrainingState
    best: Weights
    """The best epoch's weights, on the CPU."""
    validation: Validation | None
    """Of the best epoch; None when that lay before a resume."""
    rate: float
    """The learning rate after the last step."""
    budget_tokens: int
    """What batches without gradients were found to fit."""
    ranks: int


def build_bench(
    prepared: Prepared, backbone: Backbone, *, device: torch.device, hooks: Hooks, ranks: Ranks = ALONE
) -> Workbench:
    """Move the backbone to its device and put everything beside it that a step needs.

    Raises DeviceOccupied when the model alone does not fit.
    """
    recipe = prepared.recipe
    if recipe.prior_bias:
        start_at_prior(backbone.model, prepared.output_share)
    placed(backbone.model, device)
    optimizer = build_optimizer(backbone.model, recipe)
    return Workbench(
        model=backbone.model,
        runs=runnable_form(backbone.model),
        optimizer=optimizer,
        scheduler=build_scheduler(optimizer, prepared.plan),
        loss=build_loss(recipe, prepared.share, device=device),
        examples=prepared.train,
        recipe=recipe,
        device=device,
        pooling=prepared.settings.pooling,
        hooks=hooks,
        ranks=ranks,
    )


def run_course(prepared: Prepared, bench: Workbench, orders: Orders) -> Course:
    """Resume if asked, then train to the end.

    Raises StopRequested after a checkpoint, and what a step raises.
    """
    state = None
    if orders.resume_from:
        state = restore_newest(orders.resume_from, bench, identity=prepared.identity, hooks=bench.hooks)
    state = state or TrainingState(micro_tokens=orders.tokens)
    state.micro_tokens = min(state.micro_tokens, orders.tokens)
    if bench.recipe.gradient_checkpointing or state.gradient_checkpointing:
        state.gradient_checkpointing = enable_gradient_checkpointing(bench)
        if not state.gradient_checkpointing:
            message = "This model has no gradient checkpointing, so its activations are kept."
            bench.hooks.note("GRADIENT_CHECKPOINTING", message, {"severity": "warning"})
    loop = TrainingLoop(
        bench,
        state,
        validation=prepared.validation,
        settings=prepared.settings,
        budget=TokenBudget(orders.tokens),
        writer=CheckpointWriter(
            orders.checkpoints if bench.ranks.first else None,
            identity=prepared.identity,
            minutes=orders.checkpoint_minutes,
            steps=orders.checkpoint_steps,
        ),
    )
    loop.run()
    return Course(
        state=state,
        best=bench.best,
        validation=loop.last_validation,
        rate=bench.rate,
        budget_tokens=loop.budget.tokens,
        ranks=bench.ranks.size,
    )
