"""Sliding-window attention by torch's variable-length flash kernels (CUDA, half precision).

The local stream is every token that is not global; the global first token of each document is merged as one
column by log-sum-exp. torch's own `varlen_attn` drops the gradient of the log-sum-exp, which would make the
merged gradient wrong without a word, so forward and backward of the kernel are called here directly, the
backward with the *merged* output and log-sum-exp.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from postq.learning.longformer.packing import PackedBatch

_forward = torch.ops.aten._flash_attention_forward
_backward = torch.ops.aten._flash_attention_backward


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStream:
    """The tokens that are not global, document after document."""

    index: Tensor
    """(locals,) stream positions."""
    owner: Tensor
    """(locals,) for each, the number of its document."""
    bounds: Tensor
    """(docs with locals + 1,) int32 cumulative lengths, as the kernel wants them."""
    longest: int


def varlen_attention(
    query: Tensor, key: Tensor, value: Tensor, global_rows: Tensor, batch: PackedBatch, *, window: int
) -> Tensor:
    """(tokens, heads, width) attention of every token; rows of global tokens are `global_rows` (docs, heads,
    width).

    Only for streams whose documents have exactly their first token global, without dropout.
    """
    stream = _stream(batch)
    if stream is None:
        return global_rows
    firsts = batch.first_index
    local = [part.index_select(0, stream.index) for part in (query, key, value)]
    columns = [part.index_select(0, firsts) for part in (key, value)]
    found: Tensor = _VarlenAttention.apply(*local, *columns, stream, window // 2)  # type: ignore[no-untyped-call]
    answered = torch.zeros_like(query).index_copy(0, stream.index, found)
    return answered.index_copy(0, firsts, global_rows)


def _stream(batch: PackedBatch) -> LocalStream | None:
    if "locals" not in batch.plans:
        batch.plans["locals"] = _plan(batch)
    stream: LocalStream | None = batch.plans["locals"]
    return stream


def _plan(batch: PackedBatch) -> LocalStream | None:
    lengths = torch.tensor([stop - start - 1 for start, stop in batch.spans])
    if not int(lengths.sum()):
        return None
    plain = torch.ones(batch.tokens, dtype=torch.bool)
    plain[list(batch.bounds[:-1])] = False
    bounds = torch.nn.functional.pad(torch.cumsum(lengths[lengths > 0], 0), (1, 0)).to(torch.int32)
    return LocalStream(
        index=plain.nonzero()[:, 0].to(batch.device),
        owner=torch.repeat_interleave(torch.arange(batch.documents), lengths).to(batch.device),
        bounds=bounds.to(batch.device),
        longest=int(lengths.max()),
    )


class _VarlenAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        column_key: Tensor,
        column_value: Tensor,
        stream: LocalStream,
        reach: int,
    ) -> Tensor:
        scale = query.shape[-1] ** -0.5
        bounds, longest = stream.bounds, stream.longest
        options = {"scale": scale, "window_size_left": reach, "window_size_right": reach}
        found, sums, state, unused, _ = _forward(
            query, key, value, bounds, bounds, longest, longest, 0.0, False, False, **options
        )
        score = (query.float() * column_key[stream.owner].float()).sum(-1) * scale
        share = torch.sigmoid(score - sums.T)[..., None]
        merged = torch.lerp(found.float(), column_value[stream.owner].float(), share).to(query.dtype)
        merged_sums = torch.logaddexp(sums, score.T).contiguous()
        ctx.save_for_backward(
            query, key, value, column_key, column_value, merged, merged_sums, score, state, unused
        )
        ctx.stream, ctx.options = stream, options
        return merged

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, column_key, column_value, merged, sums, score, state, unused = ctx.saved_tensors
        stream: LocalStream = ctx.stream
        bounds, longest = stream.bounds, stream.longest
        gradient = gradient.contiguous()
        of_query, of_key, of_value = _backward(
            gradient, query, key, value, merged, sums, bounds, bounds, longest, longest, 0.0, False,
            state, unused, **ctx.options,
        )  # fmt: skip
        share = torch.exp(score - sums.T)[..., None]
        wide = gradient.float()
        reply = (wide * (column_value[stream.owner].float() - merged.float())).sum(-1, keepdim=True)
        pull = share * reply * ctx.options["scale"]
        of_query = of_query + (pull * column_key[stream.owner].float()).to(query.dtype)
        of_column_key = _per_document(pull * query.float(), stream, column_key)
        of_column_value = _per_document(share * wide, stream, column_value)
        return of_query, of_key, of_value, of_column_key, of_column_value, None, None


def _per_document(parts: Tensor, stream: LocalStream, like: Tensor) -> Tensor:
    """Sum (locals, heads, width) over each document's tokens."""
    sums = torch.zeros_like(like, dtype=parts.dtype)
    return sums.index_add_(0, stream.owner, parts).to(like.dtype)
