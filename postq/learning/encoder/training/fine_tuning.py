"""Fine-tuning an encoder: make ready, run the course alone or together, review, hand over the best."""

from pathlib import Path
from typing import Any

import torch

from postq.contracts.device import Device
from postq.contracts.recipes import EncoderRecipe
from postq.learning.data import TrainingData
from postq.learning.encoder.backbones.loading import Backbone
from postq.learning.encoder.forward.calling import runnable_form
from postq.learning.encoder.forward.compute import (
    check_precision,
    library_versions,
    precision_name,
    torch_device,
)
from postq.learning.encoder.forward.inference import TokenBudget
from postq.learning.encoder.steps.losses import constant_loss
from postq.learning.encoder.steps.workbench import Workbench, restore_weights
from postq.learning.encoder.tokens.tokeniser import TextTokeniser
from postq.learning.encoder.training.course import CHECKPOINT_MINUTES, Course, Orders, build_bench, run_course
from postq.learning.encoder.training.facet_targets import choose_facet_targets
from postq.learning.encoder.training.head import keep_outputs
from postq.learning.encoder.training.prepared import Prepared, fresh_backbone, prepare, require_documents
from postq.learning.encoder.training.review import review_training, tell
from postq.learning.encoder.training.together import train_together
from postq.learning.encoder.training.trained import TrainedEncoder
from postq.learning.encoder.training.validation import validate
from postq.learning.hooks import Hooks
from postq.learning.longformer import best_token_budget


def train_encoder(
    recipe: EncoderRecipe,
    data: TrainingData,
    *,
    device: Device,
    hooks: Hooks,
    checkpoints: Path | None = None,
    resume_from: Path | None = None,
    batch_divisor: int = 1,
    checkpoint_minutes: float = CHECKPOINT_MINUTES,
    checkpoint_steps: int | None = None,
    tokens_per_batch: int | None = None,
) -> TrainedEncoder:
    """Fine-tune `recipe.backbone` on `data.train`, choosing the epoch on `data.validation`.

    A device that stands for several is trained on by one process each, at equal steps. Checkpoints go to the
    folder `checkpoints` after every epoch, every `checkpoint_minutes`, every `checkpoint_steps` optimizer
    steps, and when `hooks.should_stop` asks; `resume_from` names one to go on from, after which the training
    ends as it would have without the interruption: bitwise on the CPU with equal processes.
    `tokens_per_batch`, by default what the device likes, divided by `batch_divisor`, bounds micro-batches; it
    has no say in the effective batch, which is `batch_documents` x `accumulation` documents.

    Raises NotTrainable, BundleUnusable (the backbone), LossNotFinite, DeviceOccupied, DeviceMemoryExhausted,
    StorageUnavailable (checkpoints), RankLost, and StopRequested.
    """
    require_documents(data)
    target = torch_device(device.one())
    check_precision(target, recipe.precision)
    facets = choose_facet_targets(recipe, data)
    backbone = fresh_backbone(recipe, data.labels, facets.names)
    tokeniser = TextTokeniser(
        backbone.tokenizer,
        max_tokens=recipe.max_tokens,
        piece_tokens=backbone.piece_tokens,
        long_text=recipe.long_text,
    )
    prepared = prepare(recipe, data, tokeniser, hooks=hooks, facets=facets)
    orders = Orders(
        tokens=max(1, (tokens_per_batch or best_token_budget(target.type, training=True)) // batch_divisor),
        checkpoints=checkpoints,
        resume_from=resume_from,
        checkpoint_minutes=checkpoint_minutes,
        checkpoint_steps=checkpoint_steps,
    )
    if device.count > 1:
        course = train_together(prepared, orders, device=device, hooks=hooks)
        bench = build_bench(prepared, backbone, device=target, hooks=hooks)
    else:
        bench = build_bench(prepared, backbone, device=target, hooks=hooks)
        course = run_course(prepared, bench, orders)
    return _finish(course, bench, backbone, prepared, data=data, tokeniser=tokeniser)


def _finish(
    course: Course,
    bench: Workbench,
    backbone: Backbone,
    prepared: Prepared,
    *,
    data: TrainingData,
    tokeniser: TextTokeniser,
) -> TrainedEncoder:
    state, settings = course.state, prepared.settings
    budget = TokenBudget(course.budget_tokens)
    restore_weights(bench.model, course.best)
    outcome = course.validation or validate(bench, prepared.validation, settings, budget=budget)
    prior_loss = constant_loss(
        bench.loss,
        fitted=prepared.share,
        judged=prepared.validation.targets.double().mean(dim=0).numpy(),
        device=bench.device,
    )
    detections = review_training(
        recipe=bench.recipe,
        data=data,
        state=state,
        plan=prepared.plan,
        final_rate=course.rate,
        prior_loss=prior_loss,
        train=prepared.train,
        validation=prepared.validation,
        scores=outcome.scores,
        unreadable=prepared.unreadable,
    )
    tell(detections, bench.hooks)
    keep_outputs(bench.model, labels=data.labels, outputs=len(data.labels) + len(prepared.facets))
    timing = {
        "seconds": state.seconds,
        "epoch_seconds": [entry["seconds"] for entry in state.history],
        "resumed": state.resumed,
    }
    bench.optimizer.zero_grad(set_to_none=True)
    return TrainedEncoder(
        backbone,
        runs=runnable_form(bench.model).eval(),
        labels=data.labels,
        settings=settings,
        tokeniser=tokeniser,
        budget=budget,
        precision=bench.recipe.precision,
        history=state.history,
        facts=_facts(course, bench, prepared, prior_loss=prior_loss, source=backbone.source),
        timing=timing,
        detections=detections,
    )


def _facts(
    course: Course, bench: Workbench, prepared: Prepared, *, prior_loss: float, source: str
) -> dict[str, Any]:
    state, texts = course.state, prepared.train.texts
    seen = sum(text.tokens_seen for text in texts)
    total = sum(text.tokens_total for text in texts)
    return {
        "backbone": source,
        "architecture": type(bench.model).__name__,
        "parameters": sum(weight.numel() for weight in bench.model.parameters()),
        "documents": len(texts),
        "unreadable": {name: len(lost) for name, lost in prepared.unreadable.items()},
        "dropped": [prepared.train.names[i] for i in state.dropped],
        "optimizer_steps": state.optimizer_steps,
        "scheduler_steps": state.scheduler_steps,
        "planned_steps": prepared.plan.optimizer_steps,
        "warmup_steps": prepared.plan.warmup_steps,
        "peak_rate": bench.recipe.learning_rate,
        "final_rate": course.rate,
        "best_epoch": state.best_epoch,
        "best_value": state.best_value,
        **({"facet_targets": list(prepared.facets)} if prepared.facets else {}),
        "stopped_early": state.ran_out_of_patience(bench.recipe.patience)
        and state.epoch < bench.recipe.epochs,
        "prior_loss": prior_loss,
        "micro_tokens": state.micro_tokens,
        "effective_batch": bench.recipe.batch_documents * bench.recipe.accumulation,
        "gradient_checkpointing": state.gradient_checkpointing,
        "device": str(bench.device),
        "device_name": _device_name(bench.device),
        "processes": course.ranks,
        "precision": precision_name(bench.device, bench.recipe.precision),
        "threads": torch.get_num_threads(),
        "tokens": state.tokens,
        "share_of_tokens_seen": seen / total if total else 1.0,
        "versions": library_versions(),
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
