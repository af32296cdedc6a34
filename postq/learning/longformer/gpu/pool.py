"""What the global first token of each document reads, by one pass of Triton kernels over the stream."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from postq.learning.longformer.gpu.blocks import blocks_of
from postq.learning.longformer.gpu.pool_kernels import join_chunks, pool_backward, pool_chunks
from postq.learning.longformer.gpu.recorded import call
from postq.learning.longformer.packing import PackedBatch

MOST_HEADS, MOST_HIDDEN = 16, 1_024
"""A program holds what all heads ask with, and a mean state for each."""
BACKWARD_BYTES = 132 * 1_024
"""Shared memory that the backward pass takes, which consumer cards do not have."""
CHUNK = 128
"""Tokens that a program reads."""
TOKENS = 16
"""Tokens of a chunk read at once."""
FORWARD, BACKWARD = {"num_warps": 4, "num_stages": 3}, {"num_warps": 8, "num_stages": 2}
"""What the kernels are compiled for."""


def can_pool(stream: Tensor, batch: PackedBatch, *, heads: int, dropout: float) -> bool:
    """True where the kernels serve: half precision, only first tokens global, no dropout, room enough."""
    half = stream.dtype in (torch.float16, torch.bfloat16)
    fits = heads <= MOST_HEADS and stream.shape[1] <= MOST_HIDDEN
    if not (half and fits and batch.first_token_global and dropout == 0.0):
        return False
    forward_only = not torch.is_grad_enabled() or stream.device.type != "cuda"
    return forward_only or _shared_memory(stream.device) >= BACKWARD_BYTES


@cache
def _shared_memory(device: torch.device) -> int:
    """Bytes of shared memory that a program may take."""
    return int(getattr(torch.cuda.get_device_properties(device), "shared_memory_per_block_optin", 0))


def pool_documents(stream: Tensor, absorbed: Tensor, batch: PackedBatch) -> Tensor:
    """(docs, heads, hidden) float32: for each head Σ softmax(absorbed · x_j) x_j over its document's states.

    `stream`: (tokens, hidden); `absorbed`: (docs, heads, hidden), scaled.
    """
    pooled: Tensor = call(_Pool, stream.contiguous(), absorbed.to(stream.dtype).contiguous(), batch)
    return pooled


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, stream: Tensor, asking: Tensor, batch: PackedBatch) -> Tensor:
        documents, heads, hidden = asking.shape
        chunks = blocks_of(batch, tall=CHUNK)
        count = len(chunks.table)
        sums = stream.new_empty(count, heads, hidden, dtype=torch.float32)
        highest, totals = stream.new_empty(2, count, heads, dtype=torch.float32)
        pool_chunks[(count,)](
            stream, asking, sums, highest, totals, chunks.table, heads,
            HEADS=MOST_HEADS, HIDDEN=hidden, BLOCK=_block(hidden), CHUNK=CHUNK, TOKENS=TOKENS, **FORWARD,
        )  # fmt: skip
        pooled = stream.new_empty(documents, heads, hidden, dtype=torch.float32)
        weights = stream.new_empty(documents, heads, dtype=torch.float32)
        join_chunks[(documents, heads)](
            sums, highest, totals, pooled, weights, chunks.spans, heads, HIDDEN=hidden, BLOCK=_block(hidden)
        )
        ctx.save_for_backward(stream, asking, pooled, weights)
        ctx.batch = batch
        return pooled

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        stream, asking, pooled, weights = ctx.saved_tensors
        _, heads, hidden = asking.shape
        chunks = blocks_of(ctx.batch, tall=CHUNK)
        count = len(chunks.table)
        deltas = (pooled * gradient).sum(-1)
        of_stream = torch.empty_like(stream)
        of_asking = stream.new_empty(count, heads, hidden, dtype=torch.float32)
        pool_backward[(count,)](
            stream, asking, gradient.to(stream.dtype).contiguous(), weights, deltas, of_stream, of_asking,
            chunks.table, heads, HEADS=MOST_HEADS, HIDDEN=hidden, BLOCK=_block(hidden), CHUNK=CHUNK,
            TOKENS=TOKENS, **BACKWARD,
        )  # fmt: skip
        with torch.autocast(stream.device.type, enabled=False):
            summed = (chunks.owners @ of_asking.flatten(1)).view(asking.shape)
        return of_stream, summed.to(asking.dtype), None


def _block(hidden: int) -> int:
    """The power of two that a row fits into, and at least what a product takes."""
    return max(16, 1 << (hidden - 1).bit_length())
