"""Matrix products with gradients on a CPU, through the same library as those of inference."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from postq.learning.longformer.products import (
    PACKED_ROWS,
    pack_pieces,
    packed_product,
    packs,
    unpacked_product,
)

GRADIENT_SUMMANDS = 1_024
"""Summands in one run of a gradient: nothing amplifies its rounding, which stays near 4e-7 of its size."""

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
        apply = packed_product(pack_pieces(weight), bias)
        return lambda rows, out: _in_chunks(apply, rows, out)
    return lambda rows, out: torch.addmm(bias, rows, weight.T, out=out)


def gradient_multiplier(weight: Tensor, *, packed: bool) -> Multiply:
    """The gradient that reaches the rows: (rows, out) times a (out, in) weight."""
    if packed:
        apply = packed_product(pack_pieces(weight.T, summands=GRADIENT_SUMMANDS), None)
        return lambda rows, out: _in_chunks(apply, rows, out)
    return lambda rows, out: torch.mm(rows, weight, out=out)


def add_weight_gradient(total: Tensor, gradient: Tensor, rows: Tensor, *, packed: bool) -> None:
    """Add gradientᵀ · rows to `total` (out, in); hand over about a thousand rows at once."""
    if packed:
        total += unpacked_product(gradient.T, rows.T)
    else:
        total.addmm_(gradient.T, rows)


def _in_chunks(apply: Callable[[Tensor], Tensor], rows: Tensor, out: Tensor) -> None:
    for start in range(0, rows.shape[0], PACKED_ROWS):
        chunk = slice(start, start + PACKED_ROWS)
        out[chunk] = apply(rows[chunk])


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(states, weight)
        output = states.new_empty(states.shape[0], weight.shape[0])
        multiplier(weight, bias, packed=True)(states, output)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        states, weight = ctx.saved_tensors
        back, total = torch.empty_like(states), torch.zeros_like(weight)
        gradient_multiplier(weight, packed=True)(gradient, back)
        for start in range(0, states.shape[0], GRADIENT_SUMMANDS):
            rows = slice(start, start + GRADIENT_SUMMANDS)
            add_weight_gradient(total, gradient[rows], states[rows], packed=True)
        return back, total, gradient.sum(0)
