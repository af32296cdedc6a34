"""Is this checkpoint one the fast path can read? Clear errors instead of a silently different result."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from postq.errors import BundleUnusable
from postq.learning.longformer.packing import StreamLimits

_PROJECTIONS = ("query", "key", "value", "query_global", "key_global", "value_global")


def windows_of(config: Any) -> tuple[int, ...]:
    """The attention window of each layer, in tokens.

    Raises BundleUnusable when there are not as many windows as layers, or a window is odd or not positive.
    """
    layers: int = config.num_hidden_layers
    given = config.attention_window
    windows: Sequence[int] = [given] * layers if isinstance(given, int) else list(given)
    if len(windows) != layers:
        raise BundleUnusable(
            f"The checkpoint has {layers} layers but {len(windows)} attention windows.",
            hint="Give `attention_window` one number, or one per layer, in config.json.",
        )
    for number, window in enumerate(windows):
        if window <= 0 or window % 2:
            raise BundleUnusable(
                f"Layer {number} has an attention window of {window}; it must be even and positive.",
                hint="Correct `attention_window` in config.json.",
            )
    return tuple(windows)


def check_heads(config: Any) -> None:
    """Raise BundleUnusable when the hidden size cannot be shared out evenly among the heads."""
    if config.num_attention_heads < 1 or config.hidden_size % config.num_attention_heads:
        raise BundleUnusable(
            f"Hidden size {config.hidden_size} does not divide among {config.num_attention_heads} heads.",
            hint="Correct `num_attention_heads` in config.json.",
        )


def check_weights(model: nn.Module) -> None:
    """Raise BundleUnusable, naming the tensor, when a weight is NaN or infinite.

    A sum is enough to find one: it is finite only when every summand is (and sums of sane weights do not
    overflow).
    """
    for name, weight in model.named_parameters():
        if not bool(torch.isfinite(weight.detach().sum(dtype=torch.float32))) and _has_bad(weight):
            raise BundleUnusable(
                f"The weight '{name}' holds NaN or infinite values.",
                hint="The checkpoint is broken; fetch or train it again.",
            )


def _has_bad(weight: torch.Tensor) -> bool:
    return not bool(torch.isfinite(weight.detach()).all())


def check_layers(encoder: Any, windows: Sequence[int], config: Any) -> None:
    """Raise BundleUnusable when the built layers differ from what the configuration says they are."""
    for number, (layer, window) in enumerate(zip(encoder.layer, windows, strict=True)):
        inner = layer.attention.self
        built = inner.one_sided_attn_window_size * 2
        if built != window:
            raise BundleUnusable(
                f"Layer {number} was built for a window of {built}, but its configuration says {window}.",
                hint="Pass `attention_window` to from_pretrained; changing the configuration later is idle.",
            )
        if inner.num_heads != config.num_attention_heads:
            raise BundleUnusable(
                f"Layer {number} has {inner.num_heads} heads, but its configuration says "
                f"{config.num_attention_heads}.",
                hint="Load the checkpoint with the configuration it was saved with.",
            )


def has_plain_layers(encoder: Any) -> bool:
    """True when every projection is a plain linear layer with a bias, as the fast path reads them."""
    return all(_is_plain(layer) for layer in encoder.layer)


def _is_plain(layer: Any) -> bool:
    inner = [getattr(layer.attention.self, name) for name in _PROJECTIONS]
    outer = [layer.attention.output.dense, layer.intermediate.dense, layer.output.dense]
    return all(type(part) is nn.Linear and part.bias is not None for part in inner + outer)


def limits_of(config: Any) -> StreamLimits:
    """What the checkpoint's tables can take."""
    return StreamLimits(
        vocabulary=config.vocab_size,
        table=config.max_position_embeddings,
        padding_id=config.pad_token_id,
    )
