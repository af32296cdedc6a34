"""The rows of global tokens, by weight absorption: no token is ever projected to a global key or value.

A global token asks with q = W_q x_g of every token j of its document. Because softmax(q·(W_k x_j + b_k))
needs only (W_kᵀ q)·x_j, and Σ p_j (W_v x_j + b_v) = W_v Σ p_j x_j + b_v Σ p_j, two products with the hidden
states themselves replace two projections of the whole stream.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop
from torch.nn.functional import linear

from postq.learning.longformer.packing import PackedBatch
from postq.learning.longformer.transfer import send
from postq.learning.longformer.zero_gradients import with_zero_gradients

Pool = Callable[[Tensor, Tensor], Tensor]
DOCUMENTS_PER_PRODUCT = {"cpu": 1, "cuda": 16, "mps": 16}
"""Documents answered in one matrix product: more means fewer launches and more masked pairs."""


def global_rows(
    states: Tensor,
    attention: Any,
    batch: PackedBatch,
    *,
    heads: int,
    dropout: float = 0.0,
    stream: Tensor | None = None,
    firsts: Tensor | None = None,
    pool: Pool | None = None,
) -> Tensor:
    """(globals, heads, width) attention output of every global token over all tokens of its document.

    `states` is (tokens, hidden); `attention` holds the stock `*_global` projections. All but the two products
    with the whole stream is done in float32 at least: these rows are few, and every other row reads them.

    Who has them already may give `stream`, the states in another number format for those two products,
    `firsts` (globals, hidden), the states of the global tokens, and `pool`, another way to read the stream.
    """
    stream = states.to(_product_dtype(states)) if stream is None else stream
    with torch.autocast(states.device.type, enabled=False):
        marked = states.index_select(0, batch.global_index) if firsts is None else firsts
        absorbed = _absorbed(marked, attention, heads)
        if pool is None:
            pooled, mass = _pool(stream, absorbed, batch, dropout)
        else:
            pooled, mass = pool(stream, absorbed), None
        # A key bias moves all scores of a row alike, which softmax ignores.
        rows = _project(pooled, mass, attention.value_global, heads)
        return with_zero_gradients(rows, [attention.key_global.bias])


def _pool(stream: Tensor, absorbed: Tensor, batch: PackedBatch, dropout: float) -> tuple[Tensor, Tensor]:
    """(globals, heads, hidden) mean hidden states by attention, and (globals, heads) sums of the weights."""
    parts = _parts(batch, stream.device.type)
    found = [_pool_part(stream[part.tokens], absorbed, part, dropout) for part in parts]
    pooled, mass = zip(*found, strict=True)
    return torch.cat(pooled), torch.cat(mass)


def _product_dtype(states: Tensor) -> torch.dtype:
    """What the stream is multiplied in: float32 costs nothing on a CPU, and too much on a GPU."""
    device = states.device.type
    if device == "cpu":
        return _wide(states.dtype)
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _absorbed(marked: Tensor, attention: Any, heads: int) -> Tensor:
    """(globals, heads, hidden) scaled queries, taken through the transposed key weights."""
    wide, query = _wide(marked.dtype), attention.query_global
    asked = _by_head(linear(marked.to(wide), query.weight.to(wide), query.bias.to(wide)), heads)
    scale = 1.0 / math.sqrt(asked.shape[-1])
    weight = _weight_by_head(attention.key_global, heads, wide)
    return torch.matmul((asked * scale).transpose(0, 1), weight).transpose(0, 1)


def _project(pooled: Tensor, mass: Tensor | None, value: nn.Linear, heads: int) -> Tensor:
    """Through the value weights; without dropout the weights of a mean sum to one."""
    weight = _weight_by_head(value, heads, pooled.dtype)
    summed = torch.matmul(pooled.transpose(0, 1), weight.transpose(1, 2)).transpose(0, 1)
    bias = _by_head(value.bias.to(pooled.dtype), heads)
    return summed + (bias if mass is None else mass[..., None] * bias)


def _by_head(parts: Tensor, heads: int) -> Tensor:
    """(…, heads · width) → (…, heads, width)."""
    return parts.view(*parts.shape[:-1], heads, parts.shape[-1] // heads)


def _weight_by_head(layer: nn.Linear, heads: int, dtype: torch.dtype) -> Tensor:
    """(heads, width, hidden) weight of a projection."""
    weight = layer.weight.to(dtype)
    return weight.view(heads, weight.shape[0] // heads, weight.shape[1])


class _Part:
    """Some neighbouring documents: their tokens, their global tokens, and which belong together."""

    def __init__(self, tokens: slice, marks: slice, other: Tensor | None) -> None:
        self.tokens, self.marks, self.other = tokens, marks, other


def _parts(batch: PackedBatch, device: str) -> Iterator[_Part]:
    plans: list[_Part] | None = batch.plans.get("global parts")
    if plans is None:
        plans = list(_plan_parts(batch, DOCUMENTS_PER_PRODUCT.get(device, 1)))
        batch.plans["global parts"] = plans
    yield from plans


def _plan_parts(batch: PackedBatch, documents: int) -> Iterator[_Part]:
    mark = 0
    for first in range(0, batch.documents, documents):
        members = range(first, min(first + documents, batch.documents))
        counts = [len(batch.globals_of[document]) for document in members]
        if not sum(counts):
            continue
        tokens = slice(batch.bounds[members[0]], batch.bounds[members[-1] + 1])
        other = None if len(members) == 1 else _other_documents(batch, members, counts)
        yield _Part(tokens, slice(mark, mark + sum(counts)), other)
        mark += sum(counts)


def _other_documents(batch: PackedBatch, members: range, counts: list[int]) -> Tensor:
    """(globals, 1, tokens) true where a token is of another document than the global token."""
    lengths = torch.tensor([batch.bounds[document + 1] - batch.bounds[document] for document in members])
    owners = torch.repeat_interleave(torch.arange(len(members)), lengths)
    asking = torch.repeat_interleave(torch.arange(len(members)), torch.tensor(counts))
    return send((asking[:, None] != owners[None, :])[:, None, :], batch.device)


def _pool_part(tokens: Tensor, absorbed: Tensor, part: _Part, dropout: float) -> tuple[Tensor, Tensor]:
    """The same of some neighbouring documents."""
    scores = torch.matmul(absorbed[part.marks].to(tokens.dtype), tokens.T)
    if part.other is not None:
        scores = scores.masked_fill(part.other, torch.finfo(scores.dtype).min)
    shares = torch.softmax(scores, -1, dtype=_wide(scores.dtype))
    shares = drop(shares, dropout, dropout > 0)
    pooled = torch.matmul(shares.to(tokens.dtype), tokens).to(absorbed.dtype)
    return pooled, shares.sum(-1)
