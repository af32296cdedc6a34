"""The feed-forward half of a layer in row chunks: the wide activations never exist for the whole stream."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import gelu

from postq.learning.longformer.narrow_products import narrows
from postq.learning.longformer.products import packs
from postq.learning.longformer.trained_products import (
    add_weight_gradient,
    gradient_multiplier,
    multiplier,
)

Activation = Callable[[Tensor], Tensor]

CHUNK_ROWS = {"cpu": 504, "cuda": 16_384, "mps": 8_192}
"""Rows computed at once: on a CPU two blocks of rows of the compiled product, on a GPU enough to fill it."""
NARROW_NUMBERS = 192 * 3_072
"""Wide activations of each thread at once on a CPU in bfloat16. That is 192 rows of a base-size model, whose
narrow products run at half the speed with 504 to 1,024 rows on two threads, and more rows of a smaller one,
whose products would be too short."""


def chunk_rows(device: str, *, wide: int = 3_072) -> int:
    """How many rows of the stream to carry through feed-forward layers of `wide` inner numbers at once."""
    if device == "cpu" and narrows():
        return max(1, NARROW_NUMBERS // wide) * torch.get_num_threads()
    return CHUNK_ROWS.get(device, 2_048)


def is_exact_gelu(activation: Activation) -> bool:
    """True for the erf form, which has an in-place kernel and a gradient we can recompute."""
    return activation is gelu or (type(activation).__name__ == "GELUActivation" and _acts_as_gelu(activation))


def _acts_as_gelu(activation: Activation) -> bool:
    probe = torch.linspace(-4, 4, 33)
    return bool(torch.equal(activation(probe), gelu(probe)))


def wide_layers(states: Tensor, up: nn.Linear, down: nn.Linear, activation: Activation) -> Tensor:
    """down(activation(up(states))) for training: (tokens, hidden) → (tokens, hidden).

    Under the erf GELU only the input of the activation is kept; its output, four times the hidden size, is
    computed again, chunk by chunk, when the gradient needs it.
    """
    device = states.device.type
    if device != "cpu" or torch.is_autocast_enabled(device) or not is_exact_gelu(activation):
        return down(activation(up(states)))  # type: ignore[no-any-return]
    result: Tensor = _WideLayers.apply(states, up.weight, up.bias, down.weight, down.bias)  # type: ignore[no-untyped-call]
    return result


class _WideLayers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, up: Tensor, up_bias: Tensor, down: Tensor, down_bias: Tensor
    ) -> Tensor:
        states = states.contiguous()  # the compiled product takes no other output, nor steps along both axes
        ctx.packed = packs(up, rows=states.shape[0])
        widen = multiplier(up, up_bias, packed=ctx.packed)
        narrow = multiplier(down, down_bias, packed=ctx.packed)
        inner = states.new_empty(states.shape[0], up.shape[0])
        output = torch.empty_like(states)
        for rows in _chunks(states.shape[0]):
            widen(states[rows], inner[rows])
            narrow(gelu(inner[rows]), output[rows])
        ctx.save_for_backward(states, inner, up, down)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        states, inner, up, down = ctx.saved_tensors
        gradient = gradient.contiguous()
        _, of_up, _, of_down, _ = ctx.needs_input_grad
        widen = gradient_multiplier(down, packed=ctx.packed)
        narrow = gradient_multiplier(up, packed=ctx.packed)
        back = torch.empty_like(states)
        up_gradient, down_gradient = torch.zeros_like(up), torch.zeros_like(down)
        bias_gradient = up.new_zeros(up.shape[0])
        for rows in _chunks(states.shape[0]):
            if of_down:
                add_weight_gradient(down_gradient, gradient[rows], gelu(inner[rows]), packed=ctx.packed)
            wide = torch.empty_like(inner[rows])
            widen(gradient[rows], wide)
            wide = torch.ops.aten.gelu_backward(wide, inner[rows])
            if of_up:
                add_weight_gradient(up_gradient, wide, states[rows], packed=ctx.packed)
            bias_gradient += wide.sum(0)
            narrow(wide, back[rows])
        return back, up_gradient, bias_gradient, down_gradient, gradient.sum(0)


def _chunks(rows: int) -> list[slice]:
    """As many rows as a weight gradient likes at once: each part of it passes over the whole weight."""
    step = 1_008
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
