"""Sliding-window attention with dropout on the CPU: block by block, forgetting probabilities.

Dropout falls on probabilities after the softmax, so the flash kernel, which never shows them, cannot serve.
Each block forms its own, drops, and forgets them; the backward forms them again. What is kept is one byte per
probability: whether it was dropped.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from postq.learning.longformer.bands import Span, band_frame, plan_spans
from postq.learning.longformer.packing import PackedBatch

BLOCK_ROWS = 128
"""Queries in one block: here the work per block is plain matrix products, which like more rows."""
_LANES = 1 << 16


def dropped_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    global_rows: Tensor,
    batch: PackedBatch,
    *,
    window: int,
    dropout: float,
) -> Tensor:
    """(tokens, heads, width) attention; rows of global tokens are `global_rows` (docs, heads, width).

    Only for streams whose documents have exactly their first token global. `dropout` is rounded to 1/65,536.
    """
    reach = window // 2
    spans = plan_spans(batch.spans, reach=reach, rows=BLOCK_ROWS)
    arguments = (query, key, value, global_rows, batch.first_index, spans, reach, dropout)
    answered: Tensor = _DroppedAttention.apply(*arguments)  # type: ignore[no-untyped-call]
    return answered


class _DroppedAttention(torch.autograd.Function):
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
        dropout: float,
    ) -> Tensor:
        output = torch.empty_like(query, memory_format=torch.contiguous_format)
        output[firsts] = global_rows
        kept = []
        for rows, span, shift in _blocks(spans):
            shares = _shares(query[rows], _keys(key, span, shift), _mask(span, reach, query.dtype))
            kept.append(_draw(shares.shape, dropout))
            values = _heads_first(_keys(value, span, shift))
            found = torch.bmm(shares.mul_(kept[-1]), values).mul_(_raise(dropout))
            output[rows] = found.transpose(0, 1)
        ctx.save_for_backward(query, key, value, output, firsts)
        ctx.kept, ctx.spans, ctx.reach, ctx.dropout = kept, spans, reach, dropout
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, firsts = ctx.saved_tensors
        into = tuple(torch.zeros_like(t, memory_format=torch.contiguous_format) for t in (query, key, value))
        for (rows, span, shift), kept in zip(_blocks(ctx.spans), ctx.kept, strict=True):
            asked, wanted = _heads_first(query[rows]), _heads_first(gradient[rows])
            keys, values = _keys(key, span, shift), _keys(value, span, shift)
            shares = _shares(query[rows], keys, _mask(span, ctx.reach, query.dtype))
            dots = (gradient[rows] * output[rows]).sum(-1).T[..., None]
            pull = torch.bmm(wanted, _heads_first(values).mT).mul_(_raise(ctx.dropout)).mul_(kept)
            pull.sub_(dots).mul_(shares).mul_(_scale(query))
            shares.mul_(kept).mul_(_raise(ctx.dropout))
            into[0][rows] += torch.bmm(pull, _heads_first(keys)).transpose(0, 1)
            _add_keys(into[1], torch.bmm(pull.mT, asked), span, shift)
            _add_keys(into[2], torch.bmm(shares.mT, wanted), span, shift)
        return (*into, gradient[firsts], None, None, None, None)


def _blocks(spans: list[Span]) -> Iterator[tuple[slice, Span, int]]:
    """(query rows, span, shift within the span) of every block."""
    for span in spans:
        for shift in range(0, span.rows * span.blocks, span.rows):
            yield slice(span.query + shift, span.query + shift + span.rows), span, shift


def _keys(stream: Tensor, span: Span, shift: int) -> Tensor:
    """(keys, heads, width) of one block, the global column, where it has one, first."""
    window = stream[span.key + shift : span.key + shift + span.keys]
    return window if span.column is None else torch.cat([stream[span.column][None], window])


def _add_keys(into: Tensor, parts: Tensor, span: Span, shift: int) -> None:
    """Add (heads, keys, width) to the rows that `_keys` took."""
    rows = parts.transpose(0, 1)
    if span.column is not None:
        into[span.column] += rows[0]
        rows = rows[1:]
    into[span.key + shift : span.key + shift + span.keys] += rows


def _mask(span: Span, reach: int, dtype: torch.dtype) -> Tensor:
    if span.mask is None:
        return torch.zeros(1, 1, dtype=dtype)
    mask = band_frame(BLOCK_ROWS, span.mask, reach, dtype)[: span.rows, : span.keys]
    return mask if span.column is None else torch.nn.functional.pad(mask, (1, 0))


def _shares(query: Tensor, key: Tensor, mask: Tensor) -> Tensor:
    """(heads, rows, keys) probabilities of one block before dropout."""
    scores = torch.baddbmm(mask, _heads_first(query), _heads_first(key).mT, alpha=_scale(query))
    return torch.softmax(scores, -1)


def _heads_first(rows: Tensor) -> Tensor:
    return rows.transpose(0, 1)


def _scale(query: Tensor) -> float:
    width: int = query.shape[-1]
    return 1.0 / math.sqrt(width)


def _dropped_lanes(dropout: float) -> int:
    return round(dropout * _LANES)


def _raise(dropout: float) -> float:
    """What a kept probability is multiplied by."""
    return _LANES / (_LANES - _dropped_lanes(dropout))


def _draw(shape: torch.Size, dropout: float) -> Tensor:
    """Bool tensor, true where a probability is kept; one 64-bit draw serves four, thrice as fast."""
    count = math.prod(shape)
    lanes = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(1 << 63), None).view(torch.int16)
    return (lanes[:count] >= _dropped_lanes(dropout) - (_LANES >> 1)).view(shape)
