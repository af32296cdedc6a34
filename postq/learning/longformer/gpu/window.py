"""Sliding-window attention with one global token per document, by the Triton kernels, with gradients."""

from dataclasses import dataclass
from math import e, log2, sqrt
from typing import Any

import torch
from torch import Tensor

from postq.learning.longformer.gpu.blocks import Blocks, blocks_of
from postq.learning.longformer.gpu.recorded import call
from postq.learning.longformer.gpu.window_kernels import (
    window_backward_keys,
    window_backward_queries,
    window_forward,
)
from postq.learning.longformer.packing import PackedBatch

WIDTHS = (16, 32, 64, 128)
"""Widths of a head that the kernels take."""
WIDEST_BYTES = 256
"""Of the widest head; twice as many, float32 of 128, need 176 KB of shared memory, which few cards have."""
TALL = 64
"""Queries, or in the backward pass keys, that a program answers for."""


@dataclass(frozen=True, slots=True)
class Tiles:
    """How a kernel cuts its work, and the warps and pipeline stages it is compiled for."""

    columns: int
    warps: int
    stages: int


FORWARD, QUERIES, KEYS = Tiles(64, 4, 3), Tiles(64, 4, 2), Tiles(64, 4, 2)


def serves(width: int, dtype: torch.dtype) -> bool:
    """True where the kernels take heads of this width on every card."""
    return width in WIDTHS and width * dtype.itemsize <= WIDEST_BYTES


def window_attention(
    projected: Tensor, rows: Tensor, batch: PackedBatch, *, window: int, dropout: float = 0.0
) -> Tensor:
    """(tokens, heads, width) attention from (tokens, 3, heads, width) queries, keys and values.

    `rows` (docs, heads, width) answer for the global tokens, which are exactly the first of each document.
    """
    seed = int(torch.randint(2**30, ())) if dropout else 0
    answered: Tensor = call(_WindowAttention, projected, rows, batch, window // 2, dropout, seed)
    return answered


def _blocks(batch: PackedBatch) -> Blocks:
    """Blocks of the tokens that are not global."""
    return blocks_of(batch, tall=TALL, skip=1)


class _WindowAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, rows: Tensor, batch: PackedBatch, reach: int, dropout: float, seed: int
    ) -> Tensor:
        tokens, _, heads, width = projected.shape
        answers = projected.new_empty(tokens, heads, width)
        keeps = any(ctx.needs_input_grad)
        sums = projected.new_empty((heads, tokens) if keeps else (1, 1), dtype=torch.float32)
        blocks = _blocks(batch)
        query, key, value = projected.unbind(1)
        if len(blocks.table):
            window_forward[(len(blocks.table), heads)](
                query, key, value, answers, sums, blocks.table, seed, dropout,
                projected.stride(0), answers.stride(0), tokens, reach, _scale(width),
                WIDTH=width, ROWS=TALL, COLUMNS=FORWARD.columns, DROPS=dropout > 0, KEEPS=keeps,
                PRECISION=_precision(projected), num_warps=FORWARD.warps, num_stages=FORWARD.stages,
                maxnreg=_registers(projected, dropout),
            )  # fmt: skip
        answers.index_copy_(0, batch.first_index, rows.to(answers.dtype))
        ctx.save_for_backward(projected, answers, sums)
        ctx.batch, ctx.reach, ctx.dropout, ctx.seed = batch, reach, dropout, seed
        ctx.rows_dtype = rows.dtype
        return answers

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        projected, answers, sums = ctx.saved_tensors
        batch: PackedBatch = ctx.batch
        _, _, heads, width = projected.shape
        firsts, blocks = batch.first_index, _blocks(batch)
        gradient = gradient.contiguous()
        found = torch.empty_like(projected)
        found[:, 0].index_fill_(0, firsts, 0.0)
        columns = projected.new_empty(len(blocks.table), heads, 2, width, dtype=torch.float32)
        if len(blocks.table):
            _launch_backward(ctx, projected, answers, gradient, sums, found, columns, blocks)
        with torch.autocast(projected.device.type, enabled=False):
            of_columns = (blocks.owners @ columns.flatten(1)).view(-1, heads, 2, width).transpose(1, 2)
        found[:, 1:].index_copy_(0, firsts, of_columns.to(found.dtype))
        return found, gradient.index_select(0, firsts).to(ctx.rows_dtype), None, None, None, None


def _launch_backward(
    ctx: Any,
    projected: Tensor,
    answers: Tensor,
    gradient: Tensor,
    sums: Tensor,
    found: Tensor,
    columns: Tensor,
    blocks: Blocks,
) -> None:
    tokens, _, heads, width = projected.shape
    query, key, value = projected.unbind(1)
    of_query, of_key, of_value = found.unbind(1)
    deltas, grid = torch.empty_like(sums), (len(blocks.table), heads)
    options = {"WIDTH": width, "ROWS": TALL, "DROPS": ctx.dropout > 0, "PRECISION": _precision(projected)}
    window_backward_queries[grid](
        query, key, value, answers, gradient, sums, deltas, of_query, columns, blocks.table,
        ctx.seed, ctx.dropout, projected.stride(0), answers.stride(0), found.stride(0), tokens, ctx.reach,
        _scale(width), COLUMNS=QUERIES.columns, num_warps=QUERIES.warps, num_stages=QUERIES.stages, **options,
    )  # fmt: skip
    window_backward_keys[grid](
        query, key, value, gradient, sums, deltas, of_key, of_value, blocks.table,
        ctx.seed, ctx.dropout, projected.stride(0), answers.stride(0), found.stride(0), tokens, ctx.reach,
        _scale(width), COLUMNS=KEYS.columns, num_warps=KEYS.warps, num_stages=KEYS.stages, **options,
    )  # fmt: skip


def _registers(projected: Tensor, dropout: float) -> int | None:
    """Most registers of a thread in the forward pass: 128 let a fourth program share a multiprocessor.

    Where a program needs many more, keeping them in memory would cost more than it gains.
    """
    many = projected.element_size() > 2 or projected.shape[-1] > 64 or dropout > 0
    return None if many else 128


def _scale(width: int) -> float:
    """Scores to the exponent of 2."""
    return log2(e) / sqrt(width)


def _precision(states: Tensor) -> str:
    """float32 is multiplied as such, never as TensorFloat-32."""
    return "ieee" if states.dtype == torch.float32 else "tf32"
