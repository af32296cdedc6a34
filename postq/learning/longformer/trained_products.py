"""Matrix products with gradients on a CPU, through the same functions as those of inference."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from postq.learning.longformer.products import multiply, pack_weight, packs

Multiply = Callable[[Tensor, Tensor], object]
"""(rows, out): write the product of some rows into `out`."""


def trained_product(layer: nn.Linear, states: Tensor) -> Tensor:
    """layer(states) for training: (tokens, in) → (tokens, out)."""
    if not packs(layer.weight, rows=states.shape[0]):
        return layer(states)  # type: ignore[no-any-return]
    applied: Tensor = _Product.apply(states, layer.weight, layer.bias)  # type: ignore[no-untyped-call]
    return applied


def multiplier(weight: Tensor, bias: Tensor, *, packed: bool) -> Multiply:
    """Rows times a (out, in) weight plus a bias, rounded as in inference."""
    if packed:
        panels = pack_weight(weight)
        return lambda rows, out: multiply(rows, panels, bias, out=out)
    return lambda rows, out: torch.addmm(bias, rows, weight.T, out=out)


def gradient_multiplier(weight: Tensor, *, packed: bool) -> Multiply:
    """The gradient that reaches the rows: (rows, out) times a (out, in) weight."""
    if packed:
        panels = pack_weight(weight.T)
        return lambda rows, out: multiply(rows, panels, out=out)
    return lambda rows, out: torch.mm(rows, weight, out=out)


def add_weight_gradient(total: Tensor, gradient: Tensor, rows: Tensor, *, packed: bool) -> None:
    """Add gradientᵀ · rows to `total` (out, in)."""
    if packed:
        multiply(gradient.T, pack_weight(rows.T), out=total, add=True)
    else:
        total.addmm_(gradient.T, rows)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        states = states.contiguous()
        ctx.save_for_backward(states, weight)
        return multiply(states, pack_weight(weight), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        states, weight = ctx.saved_tensors
        of_states, of_weight, of_bias = ctx.needs_input_grad
        gradient = gradient.contiguous()
        return (
            multiply(gradient, pack_weight(weight.T)) if of_states else None,
            multiply(gradient.T, pack_weight(states.T)) if of_weight else None,
            gradient.sum(0) if of_bias else None,
        )
