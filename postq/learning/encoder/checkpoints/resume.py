"""Saving a training so that it can go on as if nothing had happened, and finding the newest sound save."""

import hashlib
import json
import time
from pathlib import Path

from postq.contracts.recipes import EncoderRecipe
from postq.errors import DigestMismatch
from postq.learning.data import TrainingData
from postq.learning.encoder.checkpoints.checkpoint import (
    Checkpoint,
    earlier_checkpoints,
    prune_checkpoints,
    read_checkpoint,
    write_checkpoint,
)
from postq.learning.encoder.checkpoints.randomness import capture_states, restore_states
from postq.learning.encoder.steps.optimizer import optimizer_tensors, restore_optimizer
from postq.learning.encoder.steps.state import TrainingState
from postq.learning.encoder.steps.workbench import Weights, Workbench, model_weights, restore_weights
from postq.learning.hooks import Hooks

KEPT = 2
"""Checkpoints kept on disk: the newest, and one to fall back on."""


def training_identity(recipe: EncoderRecipe, data: TrainingData) -> str:
    """SHA-256 (hex) over what makes a training this one: recipe, labels, and the documents in their order.

    Of the recipe counts what differs from the defaults, so that a training goes on under a newer postq that
    knows more options.
    """
    digest = hashlib.sha256(recipe.model_dump_json(exclude_defaults=True).encode())
    digest.update(json.dumps(list(data.labels)).encode())
    for documents in (data.train, data.validation):
        for document in documents:
            digest.update(document.content_hash)
        digest.update(b"|")
    return digest.hexdigest()


class CheckpointWriter:
    """Writes a training's checkpoints, when it is time or when told to, and removes old ones."""

    def __init__(self, folder: Path | None, *, identity: str, minutes: float, steps: int | None) -> None:
        self._folder = folder
        self._identity = identity
        self._seconds = minutes * 60
        self._steps = steps
        self._last_time = time.monotonic()
        self._last_step = 0
        self._best: tuple[int, Path] | None = None

    def write_if_due(self, bench: Workbench, state: TrainingState) -> None:
        """Write when the stated minutes or optimizer steps have passed since the last one."""
        waited = time.monotonic() - self._last_time >= self._seconds
        stepped = self._steps is not None and state.optimizer_steps - self._last_step >= self._steps
        if waited or stepped:
            self.write(bench, state)

    def write(self, bench: Workbench, state: TrainingState) -> None:
        """Write a checkpoint of everything and report it; does nothing without a folder."""
        if self._folder is None:
            return
        state.checkpoints += 1
        random_tensors, random_values = capture_states(bench.device)
        tensors = {
            "weights": _on_cpu(model_weights(bench.model)),
            "optimizer": optimizer_tensors(bench.optimizer),
            "random": random_tensors,
            **self._gradients(bench, state),
            **self._new_best(bench, state),
        }
        values = {
            "identity": self._identity,
            "state": state.to_json(),
            "random": random_values,
            "scheduler": bench.scheduler.state_dict(),
            "rates": [group["lr"] for group in bench.optimizer.param_groups],
        }
        path = write_checkpoint(
            self._folder,
            number=state.checkpoints,
            values=values,
            tensors=tensors,
            shared=self._old_best(state),
        )
        self._best = (state.best_epoch, path / "best.safetensors") if state.best_epoch else None
        self._last_time, self._last_step = time.monotonic(), state.optimizer_steps
        bench.hooks.checkpoint(path, state.optimizer_steps)
        prune_checkpoints(self._folder, keep=KEPT)

    def _gradients(self, bench: Workbench, state: TrainingState) -> dict[str, Weights]:
        if state.offset == 0:
            return {}
        gradients = {name: w.grad for name, w in bench.model.named_parameters() if w.grad is not None}
        return {"gradients": _on_cpu(gradients)}

    def _new_best(self, bench: Workbench, state: TrainingState) -> dict[str, Weights]:
        return {"best": bench.best} if state.best_epoch and not self._old_best(state) else {}

    def _old_best(self, state: TrainingState) -> dict[str, Path]:
        known = self._best is not None and self._best[0] == state.best_epoch and self._best[1].exists()
        return {"best": self._best[1]} if known and self._best else {}


def restore_newest(path: Path, bench: Workbench, *, identity: str, hooks: Hooks) -> TrainingState | None:
    """Put `bench` where the checkpoint at `path` left it, or an older one if that is damaged.

    None when all are damaged.

    Raises DigestMismatch when a sound checkpoint belongs to another recipe or other documents.
    """
    for candidate in earlier_checkpoints(path):
        try:
            checkpoint = read_checkpoint(candidate)
        except DigestMismatch as exc:
            hooks.note("CHECKPOINT_REFUSED", exc.message, {"path": candidate.name, "severity": "warning"})
            continue
        _require_same_training(checkpoint, identity)
        return _restore(checkpoint, bench)
    hooks.note("CHECKPOINT_LOST", "No sound checkpoint is left; the training starts anew.", {})
    return None


def _require_same_training(checkpoint: Checkpoint, identity: str) -> None:
    if checkpoint.values["identity"] != identity:
        raise DigestMismatch(
            f"The checkpoint {checkpoint.path.name} belongs to another recipe or other documents.",
            hint="Resume with the recipe and corpus version it was written for.",
        )


def _restore(checkpoint: Checkpoint, bench: Workbench) -> TrainingState:
    state = TrainingState.from_json(checkpoint.values["state"])
    restore_weights(bench.model, checkpoint.tensors["weights"])
    restore_optimizer(bench.optimizer, checkpoint.tensors["optimizer"], rates=checkpoint.values["rates"])
    bench.scheduler.load_state_dict(checkpoint.values["scheduler"])
    gradients = checkpoint.tensors.get("gradients", {})
    for name, weight in bench.model.named_parameters():
        weight.grad = gradients[name].to(weight.device) if name in gradients else None
    if not bench.ranks.alone:  # gradients of a part of a window belong to nobody in particular
        state.reopen_window()
        bench.optimizer.zero_grad(set_to_none=True)
    bench.best = checkpoint.tensors.get("best", {}) if bench.ranks.first else {}
    restore_states(checkpoint.tensors["random"], checkpoint.values["random"], bench.device)
    state.resumed += 1
    return state


def _on_cpu(weights: Weights) -> Weights:
    return {name: value.detach().cpu().contiguous() for name, value in weights.items()}
