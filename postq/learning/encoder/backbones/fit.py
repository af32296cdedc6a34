"""Do the parts of a backbone fit each other? Each question has one answer: nothing, or BundleUnusable."""

from typing import Any

import torch
from torch import nn

from postq.counted import counted
from postq.errors import BundleUnusable
from postq.learning.encoder.backbones.positions import position_capacity

UNSTEADY = {
    "big_bird": "after one batch of short texts its attention is another one for good",
    "convbert": "it mixes padding into the text, so scores depend on what shares a batch",
    "fnet": "it mixes padding into the text, so scores depend on what shares a batch",
}
"""Kinds of models whose scores depend on more than the text. A BigBird with full attention is steady."""
HINT = "Use a backbone whose config, tokenizer and weights were saved together."


def check_config(config: Any) -> None:
    """Attention windows, head counts and kind of a config, before any weight is read."""
    _check_steady(config)
    heads = getattr(config, "num_attention_heads", None)
    hidden = getattr(config, "hidden_size", None)
    if heads and hidden and hidden % heads:
        raise BundleUnusable(
            f"The config has {heads} attention heads, which do not divide its hidden size of {hidden}.",
            hint=HINT,
        )
    windows = getattr(config, "attention_window", None)
    if windows is not None:
        _check_windows(windows, layers=config.num_hidden_layers)


def _check_steady(config: Any) -> None:
    """A document's scores must depend on nothing but the document."""
    why = UNSTEADY.get(config.model_type)
    if why is not None and getattr(config, "attention_type", "block_sparse") == "block_sparse":
        raise BundleUnusable(
            f"A {config.model_type} model cannot be used: {why}.",
            hint="Use another backbone, such as a Longformer for long texts.",
        )


def _check_windows(windows: int | list[int], *, layers: int) -> None:
    per_layer = [windows] * layers if isinstance(windows, int) else list(windows)
    if len(per_layer) != layers:
        raise BundleUnusable(
            f"The config has {len(per_layer)} attention windows for {layers} layers.", hint=HINT
        )
    odd = [window for window in per_layer if window <= 0 or window % 2]
    if odd:
        raise BundleUnusable(
            f"An attention window of {odd[0]} does not divide into two halves.",
            hint="Set attention_window to even, positive sizes in config.json.",
        )


def check_tokenizer(tokenizer: Any, model: nn.Module) -> None:
    """The tokenizer must know words, and every id it can give must have a row in the embedding table."""
    # transformers makes an empty tokenizer of a folder without tokenizer files, and says nothing.
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise BundleUnusable(
            "The tokenizer knows no words: its files are missing.", hint="Add tokenizer.json to the folder."
        )
    embedding: Any = model.get_input_embeddings()  # type: ignore[operator]
    rows = int(embedding.num_embeddings)
    ids = 1 + max(tokenizer.get_vocab().values())  # more than there are tokens where some ids are left out
    if ids > rows:
        raise BundleUnusable(
            f"The tokenizer gives ids up to {ids - 1}, but the embedding table has {rows} rows.",
            hint=HINT,
        )
    config: Any = model.config
    if config.pad_token_id is None or not 0 <= config.pad_token_id < rows:
        raise BundleUnusable(
            f"The config's padding token {config.pad_token_id} has no row in the embedding table.", hint=HINT
        )


def check_weights(model: nn.Module) -> None:
    """Every weight must be a finite number."""
    for name, weight in model.state_dict().items():
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise BundleUnusable(
                f"The weight '{name}' holds NaN or infinite values.",
                hint="Use an undamaged copy of the model.",
            )


def check_positions(model: nn.Module, *, tokens: int) -> None:
    """The model must be able to place `tokens` tokens, special tokens counted."""
    capacity = position_capacity(model)
    if tokens > capacity:
        raise BundleUnusable(
            f"The model has positions for {capacity} tokens, fewer than the {tokens} asked for.",
            hint="Lower max_tokens, read in chunks (long_text=chunk_max), or set extend_positions.",
        )


def check_labels(model: nn.Module, *, labels: int) -> None:
    """The output layer must have one row per label."""
    config: Any = model.config
    if config.num_labels != labels:
        raise BundleUnusable(
            f"The model has {counted(config.num_labels, 'output')} for {counted(labels, 'label')}.",
            hint="Use the labels the bundle was trained with.",
        )
