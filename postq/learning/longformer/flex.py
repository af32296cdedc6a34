"""Sliding-window attention by FlexAttention: window, documents and global columns are one mask.

The block sparsity is worked out here from the document bounds, because torch's own `create_block_mask` would
look at every pair of tokens in the stream.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from postq.learning.longformer.packing import PackedBatch

BLOCK = 128
"""Tokens per side of a sparse block: the kernel's own grain."""


def flex_attention_stream(
    query: Tensor, key: Tensor, value: Tensor, batch: PackedBatch, *, window: int
) -> Tensor:
    """(tokens, heads, width) attention of every token; rows of global tokens are filler to be overwritten."""
    mask = _block_mask(batch, window // 2)
    found = _kernel(query.device.type)(
        _heads_first(query), _heads_first(key), _heads_first(value), block_mask=mask
    )
    return found[0, :, : batch.tokens].transpose(0, 1)  # type: ignore[no-any-return]


def _heads_first(stream: Tensor) -> Tensor:
    """(tokens, heads, width) → (1, heads, tokens rounded up to whole blocks, width)."""
    spare = -stream.shape[0] % BLOCK
    padded = torch.nn.functional.pad(stream, (0, 0, 0, 0, 0, spare)) if spare else stream
    return padded.transpose(0, 1)[None]


@cache
def _kernel(device: str) -> Callable[..., Any]:
    """Compiled where a GPU can use it; elsewhere the plain form, which the tests compare."""
    from torch.nn.attention.flex_attention import flex_attention

    plain: Any = flex_attention
    if device != "cuda":
        return plain  # type: ignore[no-any-return]
    # A full graph or an error: without compiling it would form the scores of every pair of tokens.
    return torch.compile(plain, fullgraph=True)


def _block_mask(batch: PackedBatch, reach: int) -> Any:
    plan = batch.plans.get(("flex", reach))
    if plan is None:
        plan = batch.plans["flex", reach] = _plan(batch, reach)
    return plan


def _plan(batch: PackedBatch, reach: int) -> Any:
    from torch.nn.attention.flex_attention import BlockMask

    some, full = sparse_blocks(batch, reach)
    documents, marked = _token_facts(batch)
    documents, marked = documents.to(batch.device), marked.to(batch.device)
    far = torch.tensor(reach, device=batch.device)  # a tensor: a number would be compiled in, once per window

    def meets(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        del b, h
        near = (q - k).abs() <= far
        return (documents[q] == documents[k]) & (near | marked[k])

    partly = some & ~full
    return BlockMask.from_kv_blocks(
        *_listed(partly, batch), *_listed(full, batch), BLOCK_SIZE=BLOCK, mask_mod=meets
    )


def sparse_blocks(batch: PackedBatch, reach: int) -> tuple[Tensor, Tensor]:
    """Two (blocks, blocks) bool matrices: where some token pair may meet, and where all do."""
    blocks = -(-batch.tokens // BLOCK)
    index = torch.arange(blocks)
    first, last = index * BLOCK, torch.clamp((index + 1) * BLOCK, max=batch.tokens) - 1
    start, stop = _document_limits(batch)
    low = torch.maximum(first - reach, start[first]) // BLOCK
    high = torch.minimum(last + reach, stop[last] - 1) // BLOCK
    some = (index >= low[:, None]) & (index <= high[:, None])
    for (begin, end), marks in zip(batch.spans, batch.globals_of, strict=True):
        for mark in marks:
            some[begin // BLOCK : (end - 1) // BLOCK + 1, mark // BLOCK] = True
    whole = (last - first == BLOCK - 1) & (start[first] == start[last])
    together = whole[:, None] & whole[None, :] & (start[first][:, None] == start[first][None, :])
    near = torch.maximum(last[:, None] - first[None, :], last[None, :] - first[:, None]) <= reach
    return some, together & near


def _document_limits(batch: PackedBatch) -> tuple[Tensor, Tensor]:
    spans = torch.tensor(batch.spans)
    lengths = spans[:, 1] - spans[:, 0]
    return torch.repeat_interleave(spans[:, 0], lengths), torch.repeat_interleave(spans[:, 1], lengths)


def _token_facts(batch: PackedBatch) -> tuple[Tensor, Tensor]:
    """(padded tokens,) document number, spare rows forming one of their own; and which tokens are global."""
    padded = -(-batch.tokens // BLOCK) * BLOCK
    documents = torch.full((padded,), batch.documents)
    marked = torch.zeros(padded, dtype=torch.bool)
    for number, (start, stop) in enumerate(batch.spans):
        documents[start:stop] = number
    marked[list(batch.global_positions)] = True
    return documents, marked


def _listed(blocks: Tensor, batch: PackedBatch) -> tuple[Tensor, Tensor]:
    """(1, 1, rows) counts and (1, 1, rows, columns) column numbers, those that count first."""
    order = torch.argsort(blocks.to(torch.int8), dim=1, descending=True, stable=True)
    counts = blocks.sum(1, dtype=torch.int32)[None, None]
    return counts.to(batch.device), order.to(torch.int32)[None, None].to(batch.device)
