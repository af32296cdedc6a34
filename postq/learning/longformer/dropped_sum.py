"""Dropout of a residual block's update and its sum with the stream, for training on a CPU.

torch draws one number after the other (`bernoulli_`) and keeps a mask as large as the update. The compiled
function draws from a seed and the place, on all threads, and finds the same draws again for the gradient.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import dropout as drop

from postq.learning.longformer.compiled import as_array, as_numbers, compiled, why_not_compiled


def dropped_sum(update: Tensor, states: Tensor, dropout: float) -> Tensor:
    """states + update, the update with dropout: both (tokens, hidden), `update` maybe in bfloat16."""
    if not 0 < dropout < 1 or not _serves(update, states):
        return drop(update, dropout, dropout > 0) + states
    summed: Tensor = _DroppedSum.apply(update, states, dropout)  # type: ignore[no-untyped-call]
    return summed


def _serves(update: Tensor, states: Tensor) -> bool:
    if update.device.type != "cpu" or why_not_compiled() is not None or update.shape != states.shape:
        return False
    known = states.dtype == torch.float32 and update.dtype in (torch.float32, torch.bfloat16)
    return known and hasattr(compiled, "drop")  # a build from before it may still lie there


class _DroppedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, update: Tensor, states: Tensor, dropout: float) -> Tensor:
        ctx.dtype, ctx.dropout = update.dtype, dropout
        ctx.seed = int(torch.randint(1 << 62, (), device="cpu"))
        output = torch.empty_like(states, memory_format=torch.contiguous_format)
        _drop(update.contiguous(), states.contiguous(), output, ctx)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if not ctx.needs_input_grad[0]:
            return None, gradient, None
        of_update = torch.empty_like(gradient, dtype=ctx.dtype, memory_format=torch.contiguous_format)
        _drop(gradient.contiguous(), None, of_update, ctx)
        return of_update, gradient, None


def _drop(update: Tensor, added: Tensor | None, output: Tensor, ctx: Any) -> None:
    compiled.drop(
        as_numbers(update.view(-1)),
        None if added is None else as_array(added.view(-1)),
        as_numbers(output.view(-1)),
        ctx.dropout,
        ctx.seed,
        torch.get_num_threads(),
    )
