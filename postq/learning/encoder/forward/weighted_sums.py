"""Σ_t softmax_t(scores) · values over the tokens of each document of a packed stream, label by label."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from postq.learning.longformer.transfer import send

TOGETHER = 64
"""Documents summed by one matrix product on a GPU."""


def weighted_sums(scores: Tensor, values: Tensor, bounds: Sequence[int]) -> Tensor:
    """(docs, labels) from scores and values (tokens, labels), in float32 at least; `bounds` (docs + 1,).

    On a CPU document by document, so that a sum depends on nothing but its own document. A GPU would wait
    for the processor to start three kernels for each of hundreds of documents.
    """
    if scores.device.type == "cuda":
        return sums_together(scores, values, bounds)
    return sums_one_by_one(scores, values, bounds)


def sums_one_by_one(scores: Tensor, values: Tensor, bounds: Sequence[int]) -> Tensor:
    """The same for each document by itself."""
    spans = [slice(start, stop) for start, stop in pairwise(bounds)]
    return torch.stack([(torch.softmax(scores[span], dim=0) * values[span]).sum(dim=0) for span in spans])


def sums_together(scores: Tensor, values: Tensor, bounds: Sequence[int]) -> Tensor:
    """The same for many documents at once. What is not finite in one makes no other's sum NaN."""
    found = []
    with torch.autocast(scores.device.type, enabled=False):
        for first in range(0, len(bounds) - 1, TOGETHER):
            some = bounds[first : first + TOGETHER + 1]
            tokens = slice(some[0], some[-1])
            lengths = [stop - start for start, stop in pairwise(some)]
            found.append(_sums(scores[tokens], values[tokens], lengths))
    return torch.cat(found)


def _sums(scores: Tensor, values: Tensor, lengths: Sequence[int]) -> Tensor:
    """Of neighbouring documents: products with a (docs, tokens) matrix of ones where the token is theirs."""
    owners, own = _owners(lengths, like=scores)
    broken = ~(scores.isfinite() & values.isfinite())
    scores, values = scores.masked_fill(broken, -torch.inf), values.masked_fill(broken, 0.0)
    shares = (
        scores - _highest(scores.detach(), owners, documents=len(lengths)).index_select(0, owners)
    ).exp()
    sums = (own @ (shares * values)) / (own @ shares)
    return sums.masked_fill(own @ broken.to(own.dtype) > 0, torch.nan)


def _owners(lengths: Sequence[int], *, like: Tensor) -> tuple[Tensor, Tensor]:
    """(tokens,) number of each token's document, and (docs, tokens) 1 where a token is the document's."""
    numbers = torch.arange(len(lengths))
    owners = send(torch.repeat_interleave(numbers, torch.tensor(lengths)), like.device)
    return owners, (owners[None, :] == send(numbers, like.device)[:, None]).to(like.dtype)


def _highest(scores: Tensor, owners: Tensor, *, documents: int) -> Tensor:
    """(docs, labels) highest score, finite even where none is."""
    least = torch.finfo(scores.dtype).min
    start = scores.new_full((documents, scores.shape[1]), least)
    return start.scatter_reduce(0, owners[:, None].expand_as(scores), scores, "amax")
