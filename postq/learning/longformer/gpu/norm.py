"""The end of a residual block, LayerNorm(dropout(update + bias) + states), by one Triton kernel each way."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from postq.learning.longformer.gpu.norm_kernels import add_norm, add_norm_backward
from postq.learning.longformer.gpu.recorded import call
from postq.learning.longformer.packing import PackedBatch
from postq.learning.longformer.transfer import send

ROWS, WARPS = 4, 4
PROGRAMS = 1_056
"""Programs of the backward pass, each of which sums the gradients of the vectors over its rows."""


class Normed(NamedTuple):
    """States in the number format of the residual stream and in that of the products, and some rows.

    Under autocast the stream stays float32, as it does in stock, and products read bfloat16; elsewhere both
    are one tensor.
    """

    wide: Tensor
    """(rows, hidden)"""
    narrow: Tensor
    """(rows, hidden)"""
    firsts: Tensor
    """(docs, hidden) rows of the first tokens, from `wide`; none where no batch was given."""


def residual_norm(
    update: Tensor,
    bias: Tensor,
    states: Tensor,
    norm: nn.LayerNorm,
    batch: PackedBatch | None = None,
    *,
    dropout: float = 0.0,
) -> Normed:
    """(rows, hidden) norm of dropout(update + bias) + states, and with a batch each document's first row.

    Sums and statistics are float32 whatever comes in.
    """
    seed = int(torch.randint(2**30, ())) if dropout else 0
    wide, narrow, firsts = call(
        _ResidualNorm, update, bias, states, norm.weight, norm.bias, batch, norm.eps, dropout, seed
    )
    return Normed(wide, wide if narrow is None else narrow, firsts)


class _ResidualNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        update: Tensor,
        bias: Tensor,
        states: Tensor,
        gain: Tensor,
        shift: Tensor,
        batch: PackedBatch | None,
        epsilon: float,
        dropout: float,
        seed: int,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        count, hidden = states.shape
        narrows, keeps = update.dtype != states.dtype, any(ctx.needs_input_grad)
        normed = torch.empty_like(states)
        narrow = torch.empty_like(update) if narrows else None
        means, scales = states.new_empty(2, count if keeps else 1, dtype=torch.float32)
        add_norm[(-(-count // ROWS),)](
            update, bias, states, gain, shift, normed, normed if narrow is None else narrow, means, scales,
            seed, dropout, count, epsilon, HIDDEN=hidden, BLOCK=_block(hidden), ROWS=ROWS,
            DROPS=dropout > 0, KEEPS=keeps, NARROWS=narrows, num_warps=WARPS,
        )  # fmt: skip
        ctx.save_for_backward(update, bias, states, gain, shift, means, scales)
        ctx.batch, ctx.dropout, ctx.seed = batch, dropout, seed
        ctx.set_materialize_grads(False)
        return normed, narrow, None if batch is None else normed.index_select(0, batch.first_index)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, wide: Tensor | None, narrow: Tensor | None, firsts: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        update, bias, states, gain, shift, means, scales = ctx.saved_tensors
        count, hidden = states.shape
        there = [None if part is None else part.contiguous() for part in (wide, narrow, firsts)]
        pointers = [states if part is None else part for part in there]
        of_update, of_states = torch.empty_like(update), torch.empty_like(states)
        programs = min(PROGRAMS, -(-count // ROWS))
        of_vectors = states.new_empty(programs, 3, hidden, dtype=torch.float32)
        add_norm_backward[(programs,)](
            update, bias, states, gain, means, scales, pointers[0], pointers[1],
            means if firsts is None else _document_of(ctx.batch), pointers[2],
            of_update, of_states, of_vectors, ctx.seed, ctx.dropout, count,
            HIDDEN=hidden, BLOCK=_block(hidden), ROWS=ROWS, DROPS=ctx.dropout > 0,
            WIDE=wide is not None, NARROWS=narrow is not None, FIRSTS=firsts is not None, num_warps=WARPS,
        )  # fmt: skip
        of_gain, of_shift, of_bias = of_vectors.sum(0)
        return (
            of_update, of_bias.to(bias.dtype), of_states, of_gain.to(gain.dtype), of_shift.to(shift.dtype),
            None, None, None, None,
        )  # fmt: skip


def _document_of(batch: PackedBatch) -> Tensor:
    """(tokens,) int32: the document that a token is the first of, or -1."""
    found = batch.plans.get("document of first")
    if found is None:
        numbers = torch.full((batch.tokens,), -1, dtype=torch.int32)
        numbers[list(batch.bounds[:-1])] = torch.arange(batch.documents, dtype=torch.int32)
        found = batch.plans["document of first"] = send(numbers, batch.device)
    documents: Tensor = found
    return documents


def _block(hidden: int) -> int:
    """The power of two that a row fits into."""
    return 1 << (hidden - 1).bit_length()
