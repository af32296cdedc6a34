"""AdamW without decay on norms and biases, and a rate that rises and falls linearly in optimizer steps."""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from transformers import get_linear_schedule_with_warmup

from postq.contracts.recipes import EncoderRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulePlan:
    """How many steps a training takes and over how many of them the rate rises."""

    optimizer_steps: int
    """Steps of all epochs, last partial windows included."""
    schedule_steps: int
    """Steps the decay is laid out over: the same, unless the recipe's schedule bug is asked for."""
    warmup_steps: int


def plan_schedule(documents: int, recipe: EncoderRecipe) -> SchedulePlan:
    """The plan for `documents` training documents; a warm-up leaves at least one step, since its first has
    a rate of 0.

    With `schedule_bug`, decay and warm-up are laid out over micro-batches but stepped once per window, as
    the original recipe did: its rate rose over 40 % of the training and never came near zero.
    """
    window = recipe.batch_documents * recipe.accumulation
    steps = recipe.epochs * math.ceil(documents / window)
    laid_out = recipe.epochs * math.ceil(documents / recipe.batch_documents) if recipe.schedule_bug else steps
    return SchedulePlan(
        optimizer_steps=steps,
        schedule_steps=laid_out,
        warmup_steps=min(math.ceil(recipe.warmup_share * laid_out), laid_out - 1),
    )


def build_optimizer(model: nn.Module, recipe: EncoderRecipe) -> AdamW:
    """AdamW over two groups: matrices decay, vectors (norms, biases) do not. Fused on CUDA."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [w for w in trained if w.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [w for w in trained if w.ndim < 2], "weight_decay": 0.0},
    ]
    fused = next(model.parameters()).device.type == "cuda"
    return AdamW(groups, lr=recipe.learning_rate, fused=fused)


def build_scheduler(optimizer: AdamW, plan: SchedulePlan) -> LambdaLR:
    """Linear warm-up, then linear decay to zero, over the plan's schedule steps."""
    scheduler: LambdaLR = get_linear_schedule_with_warmup(  # type: ignore[no-untyped-call]
        optimizer, num_warmup_steps=plan.warmup_steps, num_training_steps=plan.schedule_steps
    )
    return scheduler


def optimizer_tensors(optimizer: AdamW) -> dict[str, torch.Tensor]:
    """The optimizer's moments as named tensors: `<parameter number>.<name>`."""
    states = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": value.detach().cpu()
        for number, state in states.items()
        for name, value in state.items()
    }


def restore_optimizer(optimizer: AdamW, tensors: dict[str, torch.Tensor], *, rates: list[float]) -> None:
    """Put back what `optimizer_tensors` returned, and each group's learning rate."""
    states: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        states.setdefault(int(number), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate
    optimizer.load_state_dict({"state": states, "param_groups": groups})
