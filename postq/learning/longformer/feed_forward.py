"""The feed-forward half of a layer in row chunks: the wide activations never exist for the whole stream."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

Activation = Callable[[Tensor], Tensor]

CHUNK_ROWS = {"cpu": 512, "cuda": 16_384, "mps": 8_192}
"""Rows computed at once: on a CPU small enough to stay in its cache, on a GPU large enough to fill it."""


def chunk_rows(device: str) -> int:
    """How many rows of the stream to carry through the feed-forward layers at once."""
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
        inner = states.new_empty(states.shape[0], up.shape[0])
        output = torch.empty_like(states)
        for rows in _chunks(states.shape[0]):
            torch.addmm(up_bias, states[rows], up.T, out=inner[rows])
            torch.addmm(down_bias, gelu(inner[rows]), down.T, out=output[rows])
        ctx.save_for_backward(states, inner, up, down)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        states, inner, up, down = ctx.saved_tensors
        back = torch.empty_like(states)
        up_gradient, down_gradient = torch.zeros_like(up), torch.zeros_like(down)
        bias_gradient = up.new_zeros(up.shape[0])
        for rows in _chunks(states.shape[0]):
            down_gradient.addmm_(gradient[rows].T, gelu(inner[rows]))
            wide = torch.ops.aten.gelu_backward(gradient[rows] @ down, inner[rows])
            up_gradient.addmm_(wide.T, states[rows])
            bias_gradient += wide.sum(0)
            torch.mm(wide, up, out=back[rows])
        return back, up_gradient, bias_gradient, down_gradient, gradient.sum(0)


def _chunks(rows: int) -> list[slice]:
    step = chunk_rows("cpu") * 2
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
