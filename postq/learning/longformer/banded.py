"""Sliding-window attention on the CPU: zero-copy key blocks through torch's flash kernel, exact gradients.

The flash kernel returns the log-sum-exp of its scores, so the global token, which far-off queries see besides
their window, is merged afterwards as one more column. For the gradient the flash backward is called with the
*merged* output and log-sum-exp: it then forms the true probabilities exp(score - lse). Merging through plain
autograd would drop the gradient that flows through the log-sum-exp.
"""

import math
from typing import Any

import torch
from torch import Tensor

from postq.learning.longformer.bands import Span, band_frame, plan_spans
from postq.learning.longformer.packing import PackedBatch

BLOCK_ROWS = 64
"""Queries in one block: fewer waste less of the band, more feed the matrix kernel better."""

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def banded_attention(
    query: Tensor, key: Tensor, value: Tensor, global_rows: Tensor, batch: PackedBatch, *, window: int
) -> Tensor:
    """(tokens, heads, width) attention of every token; rows of global tokens are `global_rows` (docs, heads,
    width).

    Only for streams whose documents have exactly their first token global, on the CPU, without dropout.
    """
    spans = _spans(batch, window // 2)
    if torch.is_grad_enabled():
        arguments = (query, key, value, global_rows, batch.first_index, spans, window // 2)
        merged: Tensor = _BandedAttention.apply(*arguments)  # type: ignore[no-untyped-call]
        return merged
    output = answer_space(query, batch)
    output[batch.first_index] = global_rows
    for span in spans:
        _attend(query, key, value, span, window // 2, output=output, lse=None)
    return output


def answer_space(query: Tensor, batch: PackedBatch) -> Tensor:
    """Room for the answers of one layer, which the next one overwrites."""
    space: Tensor | None = batch.plans.get("answers")
    if space is None or space.shape != query.shape or space.dtype != query.dtype:
        space = torch.empty_like(query, memory_format=torch.contiguous_format)
        batch.plans["answers"] = space
    return space


def _spans(batch: PackedBatch, reach: int) -> list[Span]:
    plan: list[Span] = batch.plans.setdefault(
        ("bands", reach), plan_spans(batch.spans, reach=reach, rows=BLOCK_ROWS)
    )
    return plan


class _BandedAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        global_rows: Tensor,
        firsts: Tensor,
        spans: list[Span],
        reach: int,
    ) -> Tensor:
        output = torch.empty_like(query, memory_format=torch.contiguous_format)
        output[firsts] = global_rows
        lse = query.new_empty(query.shape[:2], dtype=_lse_dtype(query.dtype))
        for span in spans:
            _attend(query, key, value, span, reach, output=output, lse=lse)
        ctx.save_for_backward(query, key, value, output, lse, firsts)
        ctx.spans, ctx.reach = spans, reach
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, lse, firsts = ctx.saved_tensors
        gradient = gradient.contiguous()
        saved = _Saved(query, key, value, output, lse, gradient)
        into = tuple(torch.zeros_like(t, memory_format=torch.contiguous_format) for t in (query, key, value))
        for span in ctx.spans:
            for block in range(span.blocks):
                _block_gradient(saved, span, span.rows * block, ctx.reach, into)
            if span.column is not None:
                _column_gradient(saved, span, span.column, into)
        return (*into, gradient[firsts], None, None, None)


class _Saved:
    """The tensors of one backward pass, each (tokens, heads, …)."""

    def __init__(
        self, query: Tensor, key: Tensor, value: Tensor, output: Tensor, lse: Tensor, gradient: Tensor
    ):
        self.query, self.key, self.value = query, key, value
        self.output, self.lse, self.gradient = output, lse, gradient


def _lse_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def _scale(query: Tensor) -> float:
    width: int = query.shape[-1]
    return 1.0 / math.sqrt(width)


def _blocks(stream: Tensor, start: int, rows: int, step: int, blocks: int) -> Tensor:
    """View (tokens, heads, …) as (blocks, heads, rows, …) without copying; blocks may overlap."""
    token, head, *rest = stream.stride()
    size = (blocks, stream.shape[1], rows, *stream.shape[2:])
    return stream.as_strided(
        size, (step * token, head, token, *rest), stream.storage_offset() + start * token
    )


def _mask(span: Span, reach: int, dtype: torch.dtype) -> Tensor | None:
    if span.mask is None:
        return None
    return band_frame(BLOCK_ROWS, span.mask, reach, dtype)[: span.rows, : span.keys]


def _attend(
    query: Tensor, key: Tensor, value: Tensor, span: Span, reach: int, *, output: Tensor, lse: Tensor | None
) -> None:
    asked = _blocks(query, span.query, span.rows, span.rows, span.blocks)
    keys = _blocks(key, span.key, span.keys, span.rows, span.blocks)
    values = _blocks(value, span.key, span.keys, span.rows, span.blocks)
    found, sums = _forward(
        asked, keys, values, attn_mask=_mask(span, reach, query.dtype), scale=_scale(query)
    )
    if span.column is not None:
        found, sums = _merge_column(asked, found, sums, key[span.column], value[span.column])
    _blocks(output, span.query, span.rows, span.rows, span.blocks).copy_(found)
    if lse is not None:
        _blocks(lse, span.query, span.rows, span.rows, span.blocks).copy_(sums)


def _merge_column(
    query: Tensor, found: Tensor, sums: Tensor, key: Tensor, value: Tensor
) -> tuple[Tensor, Tensor]:
    """Add one key (heads, width) to a softmax that is already done: (blocks, heads, rows, …)."""
    wide = sums.dtype  # half precision would round the share, and the merged output once more
    score = torch.matmul(query.to(wide), key.to(wide)[:, :, None])[..., 0] * _scale(query)
    share = torch.sigmoid(sums - score)[..., None].expand_as(found)
    merged = torch.lerp(value.to(wide)[:, None, :].expand_as(found), found.to(wide), share)
    return merged, torch.logaddexp(sums, score)


def _block_gradient(saved: _Saved, span: Span, shift: int, reach: int, into: tuple[Tensor, ...]) -> None:
    rows = slice(span.query + shift, span.query + shift + span.rows)
    keys = slice(span.key + shift, span.key + shift + span.keys)
    found = _backward(
        _one(saved.gradient[rows]),
        _one(saved.query[rows]),
        _one(saved.key[keys]),
        _one(saved.value[keys]),
        _one(saved.output[rows]),
        _one(saved.lse[rows]),
        0.0,
        False,
        attn_mask=_mask(span, reach, saved.query.dtype),
        scale=_scale(saved.query),
    )
    for target, part, where in zip(into, found, (rows, keys, keys), strict=True):
        target[where] += part[0].transpose(0, 1)


def _one(rows: Tensor) -> Tensor:
    """(tokens, heads, …) as a batch of one: (1, heads, tokens, …)."""
    return rows.transpose(0, 1)[None]


def _column_gradient(saved: _Saved, span: Span, column: int, into: tuple[Tensor, ...]) -> None:
    """The share of the gradient that went through the merged global column."""
    rows = slice(span.query, span.stop)
    scale = _scale(saved.query)
    query, gradient = saved.query[rows].transpose(0, 1), saved.gradient[rows].transpose(0, 1)
    key, value = saved.key[column][:, :, None], saved.value[column][:, :, None]
    score = torch.matmul(query, key)[..., 0] * scale
    share = torch.exp(score.to(saved.lse.dtype) - saved.lse[rows].T).to(query.dtype)
    dot = (saved.gradient[rows] * saved.output[rows]).sum(-1).T
    pull = share * (torch.matmul(gradient, value)[..., 0] - dot) * scale
    into[0][rows] += (pull[..., None] * key.transpose(1, 2)).transpose(0, 1)
    into[1][column] += torch.matmul(pull[:, None, :], query)[:, 0]
    into[2][column] += torch.matmul(share[:, None, :], gradient)[:, 0]
