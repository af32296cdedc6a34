"""Sliding-window attention by gathered key blocks: plain SDPA, any device, any global tokens, with dropout.

Slower than the special kernels, exact for everything: blocks never span documents, the global tokens of a
document are extra key columns, and a boolean mask says which pairs meet. The stock semantics: a global token
is a key only through its column, never through the window.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from postq.learning.longformer.packing import PackedBatch
from postq.learning.longformer.transfer import send

BLOCK_ROWS = 128
"""Queries in one gathered block; each copies `window` more keys than queries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatherPlan:
    """Where each block finds its queries and keys in the stream, and which pairs may meet."""

    queries: Tensor
    """(blocks · rows,) stream rows; a block's spare rows repeat its last query."""
    keys: Tensor
    """(blocks · columns,) stream rows: global columns first, then the window."""
    mask: Tensor
    """(blocks, 1, rows, columns) true where a pair meets."""
    slots: Tensor
    """(tokens,) for each token the block row that holds its answer."""


def gathered_attention(
    query: Tensor, key: Tensor, value: Tensor, batch: PackedBatch, *, window: int, dropout: float = 0.0
) -> Tensor:
    """(tokens, heads, width) attention of every token; rows of global tokens are filler to be overwritten."""
    plan = _plan(batch, window // 2)
    blocks, _, rows, columns = plan.mask.shape
    mask = plan.mask.expand(-1, query.shape[1], -1, -1)
    if query.device.type == "mps":
        mask = mask.contiguous()  # broadcast masks gave silently wrong results there (pytorch 184180)
    found: Tensor = scaled_dot_product_attention(
        _gather(query, plan.queries, blocks, rows),
        _gather(key, plan.keys, blocks, columns),
        _gather(value, plan.keys, blocks, columns),
        attn_mask=mask,
        dropout_p=dropout,
    )
    return found.transpose(1, 2).flatten(0, 1).index_select(0, plan.slots)


def _gather(stream: Tensor, index: Tensor, blocks: int, rows: int) -> Tensor:
    """(tokens, heads, width) → (blocks, heads, rows, width), contiguous."""
    taken = stream.index_select(0, index).view(blocks, rows, *stream.shape[1:])
    return taken.transpose(1, 2).contiguous()


def _plan(batch: PackedBatch, reach: int) -> GatherPlan:
    found = batch.plans.get(("gathered", reach))
    if found is None:
        found = plan_gather(batch, reach=reach, rows=BLOCK_ROWS)
        batch.plans["gathered", reach] = found
    plan: GatherPlan = found
    return plan


def plan_gather(batch: PackedBatch, *, reach: int, rows: int) -> GatherPlan:
    """Cut documents into blocks of `rows` queries against [globals, window] keys; `reach`: half a window."""
    longest = max(stop - start for start, stop in batch.spans)
    rows = min(rows, longest)
    reach_used = min(reach, longest)
    starts, stops, owners = _blocks(batch, rows)
    first = torch.tensor(starts)[:, None]
    last = torch.tensor(stops)[:, None] - 1
    queries = torch.minimum(first + torch.arange(rows), last)
    local = first - reach_used + torch.arange(rows + 2 * reach_used)
    columns = _columns(batch)[owners]
    local_allowed = _local_allowed(batch, queries, local, owners, reach_used)
    column_allowed = (columns >= 0)[:, None, :].expand(-1, rows, -1)
    mask = torch.cat([column_allowed, local_allowed], dim=2)
    keys = torch.cat([columns.clamp_min(0), local.clamp(0, batch.tokens - 1)], dim=1)
    return GatherPlan(
        queries=send(queries.flatten(), batch.device),
        keys=send(keys.flatten(), batch.device),
        mask=send(mask[:, None], batch.device),
        slots=send(_slots(batch, rows), batch.device),
    )


def _blocks(batch: PackedBatch, rows: int) -> tuple[list[int], list[int], list[int]]:
    starts, stops, owners = [], [], []
    for document, (start, stop) in enumerate(batch.spans):
        for block in range(start, stop, rows):
            starts.append(block)
            stops.append(min(block + rows, stop))
            owners.append(document)
    return starts, stops, owners


def _columns(batch: PackedBatch) -> Tensor:
    """(docs, most globals) stream positions of each document's global tokens, -1 where it has fewer."""
    most = max((len(marks) for marks in batch.globals_of), default=0)
    rows = [[*marks] + [-1] * (most - len(marks)) for marks in batch.globals_of]
    return torch.tensor(rows, dtype=torch.long).view(batch.documents, most)


def _local_allowed(
    batch: PackedBatch, queries: Tensor, local: Tensor, owners: list[int], reach: int
) -> Tensor:
    spans = torch.tensor(batch.spans)[owners]
    inside = (local >= spans[:, :1]) & (local < spans[:, 1:])
    plain = torch.ones(batch.tokens, dtype=torch.bool)
    plain[torch.tensor(batch.global_positions, dtype=torch.long)] = False
    visible = inside & plain[local.clamp(0, batch.tokens - 1)]
    near = (queries[:, :, None] - local[:, None, :]).abs() <= reach
    return near & visible[:, None, :]


def _slots(batch: PackedBatch, rows: int) -> Tensor:
    """Blocks start anew with each document, so a token's slot is its place plus the spare rows before it."""
    spare, parts = 0, []
    for start, stop in batch.spans:
        parts.append(torch.arange(start, stop) + spare)
        spare += -(stop - start) % rows
    return torch.cat(parts)
