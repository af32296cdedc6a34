"""Weights that cannot matter, given the zero gradient that stock gives them instead of none at all.

An optimizer skips weights without a gradient, so they would miss the weight decay that stock training gives
them, and DDP waits for them forever.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def with_zero_gradients(states: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """`states` unchanged; under autograd each of `weights` receives a gradient of zeros."""
    if not torch.is_grad_enabled():
        return states
    touched: Tensor = _ZeroGradients.apply(states, *weights)  # type: ignore[no-untyped-call]
    return touched


class _ZeroGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, *weights: Tensor) -> Tensor:
        ctx.save_for_backward(*weights)
        return states.view_as(states)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        return gradient, *(torch.zeros_like(weight) for weight in ctx.saved_tensors)
