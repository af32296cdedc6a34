"""Detectors that look at the course of a training: its losses, its learning rate, its epochs."""

from collections.abc import Mapping, Sequence

import numpy as np

from postq.counted import counted
from postq.learning.detectors.detection import Detection

NOT_LEARNING_SHARE = 0.98
DIVERGED_SHARE = 1.25
OVERFIT_SHARE = 1.05
UNDERTRAINED_GAIN = 0.005
FINAL_RATE_SHARE = 0.01


def detect_not_learning(
    history: Sequence[Mapping[str, float]], *, prior_loss: float, warmup_share: float, epochs: int
) -> Detection | None:
    """NOT_LEARNING: after warm-up no epoch's validation loss is under 0.98 of the best constant answer's."""
    judged = [entry["val_loss"] for entry in history if entry["epoch"] > warmup_share * epochs]
    if not judged or min(judged) < NOT_LEARNING_SHARE * prior_loss:
        return None
    return Detection(
        event="NOT_LEARNING",
        severity="error",
        message=f"The best validation loss, {min(judged):.4f}, is no better than that of always giving the "
        f"training shares, {prior_loss:.4f}. Check the learning rate, the labels and the text view.",
        data={"best_val_loss": min(judged), "prior_loss": prior_loss},
    )


def detect_diverged(history: Sequence[Mapping[str, float]]) -> Detection | None:
    """DIVERGED: the training loss of the last epoch is 1.25 times its lowest, or not a number."""
    losses = [entry["train_loss"] for entry in history]
    if not losses or (np.isfinite(losses[-1]) and losses[-1] < DIVERGED_SHARE * min(losses)):
        return None
    return Detection(
        event="DIVERGED",
        severity="error",
        message=f"The training loss rose from {min(losses):.4f} to {losses[-1]:.4f}; lower the rate.",
        data={"last": losses[-1], "lowest": min(losses)},
    )


def detect_overfit(history: Sequence[Mapping[str, float]]) -> Detection | None:
    """OVERFIT: validation loss ends 5 % above its lowest while the training loss went on falling."""
    if len(history) < 2:
        return None
    validation = [entry["val_loss"] for entry in history]
    lowest = int(np.argmin(validation))
    falling = history[-1]["train_loss"] < history[lowest]["train_loss"]
    if not falling or validation[-1] < OVERFIT_SHARE * validation[lowest]:
        return None
    epoch = history[lowest]["epoch"]
    return Detection(
        event="OVERFIT",
        severity="warning",
        message=f"Validation loss was lowest in epoch {epoch:.0f} ({validation[lowest]:.4f}) and rose to "
        f"{validation[-1]:.4f} while the training loss fell. The best epoch is kept; train shorter.",
        data={"lowest_epoch": epoch, "lowest": validation[lowest], "last": validation[-1]},
    )


def detect_nan(dropped: Sequence[str]) -> Detection | None:
    """NAN: documents whose loss or gradient was not a number were left out of training."""
    if not dropped:
        return None
    return Detection(
        event="NAN",
        severity="warning",
        message=f"Left out of training: {counted(len(dropped), 'document')} whose loss is not a number, "
        f"{', '.join(dropped[:5])}.",
        data={"documents": list(dropped)},
    )


def detect_schedule(
    *,
    optimizer_steps: int,
    scheduler_steps: int,
    planned_steps: int,
    warmup_steps: int,
    warmup_share: float,
    final_rate: float,
    peak_rate: float,
) -> Detection | None:
    """SCHEDULE: the learning rate did not do what the recipe says.

    `planned_steps` are the optimizer steps of all epochs, `warmup_steps` those over which the rate rose,
    `final_rate` the rate after the last step taken. A training stopped early is judged by where the decay
    should be then.
    """
    left = max(0.0, (planned_steps - optimizer_steps) / max(1, planned_steps - warmup_steps))
    found = []
    if optimizer_steps != scheduler_steps:
        found.append(
            f"{counted(scheduler_steps, 'schedule step')} for {counted(optimizer_steps, 'optimizer step')}"
        )
    if abs(final_rate / peak_rate - min(1.0, left)) > FINAL_RATE_SHARE and optimizer_steps >= warmup_steps:
        found.append(f"the final rate is {final_rate / peak_rate:.0%} of the peak, not {min(1.0, left):.0%}")
    if abs(warmup_steps - warmup_share * planned_steps) > 1:
        found.append(f"warm-up took {warmup_steps / planned_steps:.0%} of all steps, not {warmup_share:.0%}")
    if not found:
        return None
    return Detection(
        event="SCHEDULE",
        severity="warning",
        message=f"The learning rate schedule is off: {'; '.join(found)}. Count it in optimizer steps.",
        data={
            "optimizer_steps": optimizer_steps,
            "scheduler_steps": scheduler_steps,
            "planned_steps": planned_steps,
            "warmup_steps": warmup_steps,
            "final_rate": final_rate,
            "peak_rate": peak_rate,
        },
    )


def detect_undertrained(
    history: Sequence[Mapping[str, float]], *, select_on: str, planned_epochs: int
) -> Detection | None:
    """UNDERTRAINED: all planned epochs ran and the selection metric still rose clearly in the last one."""
    values = [entry["selected"] for entry in history]
    if len(values) < max(2, planned_epochs):
        return None
    gain = values[-1] - max(values[:-1])
    if gain < UNDERTRAINED_GAIN:
        return None
    return Detection(
        event="UNDERTRAINED",
        severity="info",
        message=f"{select_on} still rose by {gain:.3f} in the last epoch. More epochs would probably help.",
        data={"gain": gain, "last": values[-1], "epochs": len(values)},
    )
