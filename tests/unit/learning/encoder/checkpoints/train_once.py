"""One training as a process of its own: `python -m ... BACKBONE CHECKPOINTS OUTPUT [RESUME_FROM]`."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from postq.contracts.recipes import EncoderRecipe
from postq.learning.encoder.steps.workbench import copy_weights
from postq.learning.encoder.training.fine_tuning import train_encoder
from postq.learning.hooks import Hooks
from tests.unit.learning.encoder.material import CPU, opinions, training_data

MICRO_TOKENS = 250
"""Windows of eight documents are cut in two or three."""


def recipe_for(backbone: str) -> EncoderRecipe:
    """Dropout on, windows of two micro-batches, a short last window, three epochs."""
    return EncoderRecipe(
        backbone=backbone,
        max_tokens=128,
        epochs=3,
        batch_documents=4,
        accumulation=2,
        learning_rate=3e-3,
        attention_dropout=0.1,
        patience=0,
        baseline=False,
    )


def main(backbone: str, checkpoints: str, output: str, resume_from: str | None = None) -> None:
    """Train, then save the kept weights."""
    torch.set_num_threads(1)
    trained = train_encoder(
        recipe_for(backbone),
        training_data(opinions(21), opinions(10, start=100)),
        device=CPU,
        hooks=Hooks(),
        checkpoints=Path(checkpoints),
        resume_from=Path(resume_from) if resume_from else None,
        checkpoint_steps=1,
        tokens_per_batch=MICRO_TOKENS,
    )
    save_file(copy_weights(trained.model), output)


if __name__ == "__main__":
    main(*sys.argv[1:])
