"""Fine-tuning an encoder: assemble the parts, resume if asked, run the loop, review, hand over the best."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from postq.contracts.device import Device
from postq.contracts.document import Document
from postq.contracts.recipes import EncoderRecipe
from postq.errors import NotTrainable
from postq.learning.data import TrainingData
from postq.learning.encoder.backbones import Backbone, load_backbone
from postq.learning.encoder.compute import library_versions, precision_name, torch_device
from postq.learning.encoder.examples import build_examples, readable_only, tokenise
from postq.learning.encoder.forward import runnable_form
from postq.learning.encoder.head import start_at_prior
from postq.learning.encoder.inference import TokenBudget
from postq.learning.encoder.loop import TrainingLoop
from postq.learning.encoder.losses import build_loss, constant_loss, positive_weight
from postq.learning.encoder.optimizer import SchedulePlan, build_optimizer, build_scheduler, plan_schedule
from postq.learning.encoder.randomness import seed_everything
from postq.learning.encoder.resume import CheckpointWriter, restore_newest, training_identity
from postq.learning.encoder.review import review_training, tell
from postq.learning.encoder.scoring_space import EncoderSettings
from postq.learning.encoder.state import TrainingState
from postq.learning.encoder.tokens import TextTokeniser
from postq.learning.encoder.trained import TrainedEncoder
from postq.learning.encoder.validation import validate
from postq.learning.encoder.window import enable_gradient_checkpointing
from postq.learning.encoder.workbench import Examples, Workbench, restore_weights
from postq.learning.hooks import Hooks
from postq.learning.longformer import best_token_budget

CHECKPOINT_MINUTES = 10.0


@dataclass(frozen=True, kw_only=True)
class _Splits:
    """Tokenised documents, and those that could not be read."""

    train: Examples
    validation: Examples
    unreadable: dict[str, list[str]]

    @property
    def share(self) -> NDArray[np.float64]:
        """(labels,) share of training documents that carry each label."""
        share: NDArray[np.float64] = self.train.targets.double().mean(dim=0).numpy()
        return share


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

    Checkpoints go to the folder `checkpoints` after every epoch, every `checkpoint_minutes`, every
    `checkpoint_steps` optimizer steps, and when `hooks.should_stop` asks; `resume_from` names one to go on
    from, after which the training ends as it would have without the interruption: bitwise on the CPU.
    `tokens_per_batch`, by default what the device likes, divided by `batch_divisor`, bounds micro-batches; it
    has no say in the effective batch, which is `batch_documents` x `accumulation` documents.

    Raises NotTrainable, BundleUnusable (the backbone), LossNotFinite, DeviceMemoryExhausted,
    StorageUnavailable (checkpoints), and StopRequested.
    """
    _require_documents(data)
    target = torch_device(device)
    seed_everything(recipe.seed)
    backbone = load_backbone(
        recipe.backbone,
        labels=data.labels,
        max_tokens=recipe.max_tokens,
        chunked=recipe.long_text.startswith("chunk"),
        extend=recipe.extend_positions,
        attention_dropout=recipe.attention_dropout,
    )
    tokeniser = TextTokeniser(
        backbone.tokenizer,
        max_tokens=recipe.max_tokens,
        piece_tokens=backbone.piece_tokens,
        long_text=recipe.long_text,
    )
    splits = _splits(data, tokeniser, hooks=hooks)
    settings = _settings(recipe, tokeniser, share=splits.share)
    plan = plan_schedule(len(splits.train.texts), recipe)
    bench = _workbench(recipe, backbone, splits, settings=settings, plan=plan, device=target, hooks=hooks)
    identity = training_identity(recipe, data)
    state = restore_newest(resume_from, bench, identity=identity, hooks=hooks) if resume_from else None
    tokens = max(1, (tokens_per_batch or best_token_budget(target.type)) // batch_divisor)
    state = state or TrainingState(micro_tokens=tokens)
    state.micro_tokens = min(state.micro_tokens, tokens)
    if (recipe.gradient_checkpointing or state.gradient_checkpointing) and enable_gradient_checkpointing(
        bench
    ):
        state.gradient_checkpointing = True
    budget = TokenBudget(tokens)
    loop = TrainingLoop(
        bench,
        state,
        validation=splits.validation,
        settings=settings,
        budget=budget,
        writer=CheckpointWriter(
            checkpoints, identity=identity, minutes=checkpoint_minutes, steps=checkpoint_steps
        ),
    )
    loop.run()
    return _finish(loop, backbone, splits, data=data, plan=plan, settings=settings, tokeniser=tokeniser)


def _require_documents(data: TrainingData) -> None:
    for name, documents in (("training", data.train), ("validation", data.validation)):
        if not documents:
            raise NotTrainable(
                f"The {name} split is empty.", hint="Add documents, or change the shares of the split."
            )
    if not data.labels:
        raise NotTrainable("There are no labels to learn.", hint="Lower min_label_count.")


def _splits(data: TrainingData, tokeniser: TextTokeniser, *, hooks: Hooks) -> _Splits:
    def examples(documents: Any) -> Examples:
        listed: list[Document] = list(documents)
        return build_examples(listed, tokenise(listed, tokeniser, hooks=hooks), labels=data.labels)

    train, lost = readable_only(examples(data.train))
    validation, lost_validation = readable_only(examples(data.validation))
    if not train.texts or not validation.texts:
        raise NotTrainable(
            "The tokenizer knows no token of any training or validation document.",
            hint="Use a backbone for the corpus' language and script.",
        )
    return _Splits(
        train=train, validation=validation, unreadable={"train": lost, "validation": lost_validation}
    )


def _settings(
    recipe: EncoderRecipe, tokeniser: TextTokeniser, *, share: NDArray[np.float64]
) -> EncoderSettings:
    shift = None
    if recipe.debias and recipe.loss == "bce_pos_weight":
        weight = positive_weight(share, power=recipe.pos_weight_power, cap=recipe.pos_weight_cap)
        shift = tuple(float(value) for value in np.log(weight))
    return EncoderSettings(
        text=recipe.text,
        max_tokens=recipe.max_tokens,
        piece_tokens=tokeniser.piece_tokens,
        long_text=recipe.long_text,
        logit_shift=shift,
    )


def _workbench(
    recipe: EncoderRecipe,
    backbone: Backbone,
    splits: _Splits,
    *,
    settings: EncoderSettings,
    plan: SchedulePlan,
    device: torch.device,
    hooks: Hooks,
) -> Workbench:
    if recipe.prior_bias:
        start_at_prior(backbone.model, splits.share)
    backbone.model.to(device)
    optimizer = build_optimizer(backbone.model, recipe)
    return Workbench(
        model=backbone.model,
        runs=runnable_form(backbone.model),
        optimizer=optimizer,
        scheduler=build_scheduler(optimizer, plan),
        loss=build_loss(recipe, splits.share, device=device),
        examples=splits.train,
        recipe=recipe,
        device=device,
        pooling=settings.pooling,
        hooks=hooks,
    )


def _finish(
    loop: TrainingLoop,
    backbone: Backbone,
    splits: _Splits,
    *,
    data: TrainingData,
    plan: SchedulePlan,
    settings: EncoderSettings,
    tokeniser: TextTokeniser,
) -> TrainedEncoder:
    bench, state = loop.bench, loop.state
    budget = loop.budget
    restore_weights(bench.model, bench.best)
    outcome = loop.last_validation or validate(bench, splits.validation, settings, budget=budget)
    prior_loss = constant_loss(
        bench.loss,
        fitted=splits.share,
        judged=splits.validation.targets.double().mean(dim=0).numpy(),
        device=bench.device,
    )
    detections = review_training(
        recipe=bench.recipe,
        data=data,
        state=state,
        plan=plan,
        final_rate=bench.rate,
        prior_loss=prior_loss,
        train=splits.train,
        validation=splits.validation,
        scores=outcome.scores,
        unreadable=splits.unreadable,
    )
    tell(detections, bench.hooks)
    timing = {
        "seconds": state.seconds,
        "epoch_seconds": [entry["seconds"] for entry in state.history],
        "resumed": state.resumed,
    }
    facts = _facts(loop, splits, plan=plan, prior_loss=prior_loss, source=backbone.source)
    bench.optimizer.zero_grad(set_to_none=True)
    return TrainedEncoder(
        backbone,
        runs=bench.runs.eval(),
        labels=data.labels,
        settings=settings,
        tokeniser=tokeniser,
        budget=budget,
        history=state.history,
        facts=facts,
        timing=timing,
        detections=detections,
    )


def _facts(
    loop: TrainingLoop, splits: _Splits, *, plan: SchedulePlan, prior_loss: float, source: str
) -> dict[str, Any]:
    bench, state = loop.bench, loop.state
    seen = sum(text.tokens_seen for text in splits.train.texts)
    total = sum(text.tokens_total for text in splits.train.texts)
    return {
        "backbone": source,
        "architecture": type(bench.model).__name__,
        "parameters": sum(weight.numel() for weight in bench.model.parameters()),
        "documents": len(splits.train.texts),
        "unreadable": {name: len(lost) for name, lost in splits.unreadable.items()},
        "dropped": [splits.train.names[i] for i in state.dropped],
        "optimizer_steps": state.optimizer_steps,
        "scheduler_steps": state.scheduler_steps,
        "planned_steps": plan.optimizer_steps,
        "warmup_steps": plan.warmup_steps,
        "peak_rate": bench.recipe.learning_rate,
        "final_rate": bench.rate,
        "best_epoch": state.best_epoch,
        "best_value": state.best_value,
        "stopped_early": loop.stopped_early and state.epoch < bench.recipe.epochs,
        "prior_loss": prior_loss,
        "micro_tokens": state.micro_tokens,
        "effective_batch": bench.recipe.batch_documents * bench.recipe.accumulation,
        "gradient_checkpointing": state.gradient_checkpointing,
        "device": str(bench.device),
        "device_name": _device_name(bench.device),
        "precision": precision_name(bench.device),
        "threads": torch.get_num_threads(),
        "tokens": state.tokens,
        "share_of_tokens_seen": seen / total if total else 1.0,
        "versions": library_versions(),
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
