"""Packed documents cut into blocks that never span two: what a Triton program works on."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from postq.learning.longformer.packing import PackedBatch
from postq.learning.longformer.transfer import send


@dataclass(kw_only=True, eq=False)
class Blocks:
    """The blocks of a stream, document by document."""

    table: Tensor
    """(blocks, 4) int32: first token of the block; its document's first token, end and number."""
    spans: Tensor
    """(docs + 1,) int32: which blocks are each document's."""
    documents: Tensor
    """(blocks,) int64 numbers of the documents, on the host."""

    @cached_property
    def owners(self) -> Tensor:
        """(docs, blocks) float32, 1 where the block is the document's: one product sums over the blocks of
        every document, and always alike.
        """
        own = torch.zeros(len(self.spans) - 1, len(self.documents))
        own[self.documents, torch.arange(len(self.documents))] = 1.0
        return send(own, self.table.device)


def blocks_of(batch: PackedBatch, *, tall: int, skip: int = 0) -> Blocks:
    """Blocks of `tall` tokens, without the first `skip` of each document; kept in the batch's plans."""
    found = batch.plans.get(("blocks", tall, skip))
    if found is None:
        found = batch.plans["blocks", tall, skip] = _cut(batch, tall, skip)
    blocks: Blocks = found
    return blocks


def _cut(batch: PackedBatch, tall: int, skip: int) -> Blocks:
    bounds = torch.tensor(batch.bounds)
    starts, stops = bounds[:-1], bounds[1:]
    counts = (stops - starts - skip + tall - 1) // tall
    documents = torch.repeat_interleave(torch.arange(batch.documents), counts)
    spans = torch.nn.functional.pad(torch.cumsum(counts, 0), (1, 0))
    begins = starts[documents] + skip + tall * (torch.arange(len(documents)) - spans[documents])
    table = torch.stack([begins, starts[documents], stops[documents], documents], 1)
    return Blocks(
        table=send(table.to(torch.int32), batch.device),
        spans=send(spans.to(torch.int32), batch.device),
        documents=documents,
    )
