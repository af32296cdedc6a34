"""Query, key and value of every token: three products on a CPU, one fused product on an accelerator."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from postq.learning.longformer.feed_forward import chunk_rows
from postq.learning.longformer.kept_weights import KeptWeights
from postq.learning.longformer.narrow_products import narrow_projections, narrows
from postq.learning.longformer.packing import PackedBatch
from postq.learning.longformer.products import multiply, packed_weight, packs


def project_stacked(states: Tensor, layers: Sequence[nn.Linear]) -> Tensor:
    """(tokens, hidden) → (tokens, sum of the layers' widths) in one product.

    The stack is made anew each time: nothing can tell that no weight has changed, since fused optimizers move
    no version counter.
    """
    weight = torch.cat([layer.weight for layer in layers])
    return linear(states, weight, torch.cat([layer.bias for layer in layers]))


def project(
    states: Tensor, layers: Sequence[nn.Linear], batch: PackedBatch, *, kept: KeptWeights | None
) -> list[Tensor]:
    """(tokens, width) of each layer, of equal widths. Inference only.

    Written over the answers of the previous encoder layer: fresh memory costs a page fault every 4 KB.
    """
    if kept is not None and narrows(layers[0].weight):
        return narrow_projections(states, layers, kept=kept)
    if not packs(layers[0].weight, rows=states.shape[0], kept=kept is not None):
        return _plain_in_chunks(states, layers, batch)
    room = _room(batch, layers, states)
    for layer, part in zip(layers, room, strict=True):
        multiply(states, packed_weight(layer, kept), layer.bias, out=part)
    return room


def _plain_in_chunks(states: Tensor, layers: Sequence[nn.Linear], batch: PackedBatch) -> list[Tensor]:
    """Chunk by chunk, while a chunk is in the cache."""
    count, step = states.shape[0], chunk_rows(states.device.type)
    if torch.is_autocast_enabled(states.device.type):
        return _autocast_in_chunks(states, layers, batch, step)
    room = _room(batch, layers, states)
    for start in range(0, count, step):
        rows = slice(start, start + step)
        for layer, part in zip(layers, room, strict=True):
            torch.addmm(layer.bias, states[rows], layer.weight.T, out=part[rows])
    return room


def _autocast_in_chunks(
    states: Tensor, layers: Sequence[nn.Linear], batch: PackedBatch, step: int
) -> list[Tensor]:
    """The same where only the product knows its number format."""
    parts: list[Tensor] | None = None
    for start in range(0, states.shape[0], step):
        rows = slice(start, start + step)
        found = [layer(states[rows]) for layer in layers]
        parts = parts or _room(batch, layers, found[0])
        for part, piece in zip(parts, found, strict=True):
            part[rows] = piece
    assert parts is not None  # a stream has at least one token
    return parts


def _room(batch: PackedBatch, layers: Sequence[nn.Linear], like: Tensor) -> list[Tensor]:
    """The room of the stream's projections; autocast may have given `like` another number format."""
    room: list[Tensor] | None = batch.plans.get("projected")
    if room is None:
        room = [like.new_empty(batch.tokens, layer.out_features) for layer in layers]
        batch.plans["projected"] = room
    return room
