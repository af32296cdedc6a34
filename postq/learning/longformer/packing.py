"""Packed streams: documents side by side without padding, and how padded batches become one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from postq.errors import BadInput
from postq.learning.longformer.transfer import send


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """What a checkpoint can read: ids below `vocabulary`, positions below `table`, and its padding id."""

    vocabulary: int
    table: int
    """Rows of the position table; positions start at `padding_id + 1`, so documents are shorter."""
    padding_id: int

    @property
    def longest(self) -> int:
        """Most tokens (other than padding) one document may have."""
        return self.table - self.padding_id - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedBatch:
    """Documents side by side: (tokens,) ids with the host-side bounds of each document."""

    token_ids: Tensor
    """(tokens,) int64."""
    position_ids: Tensor
    """(tokens,) int64 rows of the position table."""
    token_type_ids: Tensor | None = None
    bounds: tuple[int, ...]
    """(docs + 1) offsets into the stream, on the host: no kernel ever waits for them."""
    globals_of: tuple[tuple[int, ...], ...]
    """For each document the stream positions of its global tokens, ascending."""

    @property
    def documents(self) -> int:
        """How many documents the stream holds."""
        return len(self.bounds) - 1

    @property
    def tokens(self) -> int:
        """How many tokens the stream holds."""
        return self.bounds[-1]

    @property
    def device(self) -> torch.device:
        """Where the stream lies."""
        return self.token_ids.device

    @cached_property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """(start, stop) of each document."""
        return tuple(pairwise(self.bounds))

    @cached_property
    def first_token_global(self) -> bool:
        """True when exactly the first token of every document is global: what the fast kernels are for."""
        return all(marks == (start,) for marks, start in zip(self.globals_of, self.bounds, strict=False))

    @cached_property
    def global_positions(self) -> tuple[int, ...]:
        """Stream positions of all global tokens, ascending."""
        return tuple(mark for marks in self.globals_of for mark in marks)

    @cached_property
    def global_index(self) -> Tensor:
        """(globals,) int64 stream positions of all global tokens, on the stream's device."""
        return send(torch.tensor(self.global_positions, dtype=torch.long), self.device)

    @cached_property
    def first_index(self) -> Tensor:
        """(docs,) int64 stream positions of the first tokens, on the stream's device."""
        return send(torch.tensor(self.bounds[:-1], dtype=torch.long), self.device)

    @cached_property
    def plans(self) -> dict[Any, Any]:
        """What kernels worked out about this stream and want to find again in the next layer."""
        return {}


def pack(
    token_ids: Tensor,
    offsets: Tensor | Sequence[int],
    *,
    limits: StreamLimits,
    device: torch.device,
    global_positions: Tensor | Sequence[int] | None = None,
    token_type_ids: Tensor | None = None,
) -> PackedBatch:
    """Check a packed stream and work out its positions.

    `token_ids` (tokens,) and `offsets` (docs + 1,) describe the documents; `global_positions` (globals,) are
    stream positions, by default the first token of each document. Raises BadInput for an empty stream or
    document, for offsets that do not fit, and for ids or positions beyond the checkpoint's tables.
    """
    bounds = tuple(int(bound) for bound in (offsets.tolist() if isinstance(offsets, Tensor) else offsets))
    _check_bounds(token_ids, bounds)
    _check_vocabulary(token_ids, limits)
    token_ids = token_ids.to(torch.long)
    positions = _positions(token_ids, bounds, limits.padding_id)
    _check_positions(positions, bounds, limits)
    return PackedBatch(
        token_ids=send(token_ids, device),
        position_ids=send(positions, device),
        token_type_ids=None if token_type_ids is None else send(token_type_ids, device),
        bounds=bounds,
        globals_of=_globals_of(bounds, global_positions),
    )


def unpad(
    input_ids: Tensor,
    attention_mask: Tensor | None,
    global_attention_mask: Tensor | None,
    *,
    limits: StreamLimits,
    device: torch.device,
    token_type_ids: Tensor | None = None,
) -> PackedBatch | None:
    """Take a padded (docs, width) batch apart into a packed stream, whichever side is padded.

    Without a global mask the first *real* token of each document is global. Returns None when the mask is not
    one unbroken run of ones per row: such a batch has no packed equal. Raises BadInput like `pack`.
    """
    _check_vocabulary(input_ids, limits)
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    runs = _runs(mask.cpu())
    if runs is None:
        return None
    keep = mask.to(device) != 0
    ids = input_ids.to(device, torch.long)
    bounds = _bounds(runs)
    positions = _padded_positions(ids, limits.padding_id)[keep]
    _check_positions(positions, bounds, limits)
    return PackedBatch(
        token_ids=ids[keep],
        position_ids=positions,
        token_type_ids=None if token_type_ids is None else token_type_ids.to(device)[keep],
        bounds=bounds,
        globals_of=_globals_of(bounds, _stream_globals(global_attention_mask, mask)),
    )


def _check_bounds(token_ids: Tensor, bounds: tuple[int, ...]) -> None:
    if token_ids.dim() != 1 or token_ids.numel() == 0 or len(bounds) < 2:
        raise BadInput(
            f"A packed stream needs tokens in one dimension, not the shape {tuple(token_ids.shape)}.",
            hint="Pass ids of shape (tokens,) and offsets of shape (docs + 1,) with at least one document.",
        )
    if bounds[0] != 0 or bounds[-1] != token_ids.numel():
        raise BadInput(
            f"Offsets run from {bounds[0]} to {bounds[-1]}, but the stream has {token_ids.numel()} tokens.",
            hint="Offsets start at 0 and end at the number of tokens.",
        )
    for document, (start, stop) in enumerate(pairwise(bounds)):
        if stop <= start:
            raise BadInput(
                f"Document {document} of the batch has no tokens.",
                hint="Set documents without tokens aside before scoring them.",
            )


def _check_vocabulary(token_ids: Tensor, limits: StreamLimits) -> None:
    if token_ids.device.type != "cpu" or token_ids.numel() == 0:
        return  # asking an accelerator would make it wait; its own embedding look-up asserts
    low, high = (int(bound) for bound in torch.aminmax(token_ids))
    if low < 0 or high >= limits.vocabulary:
        raise BadInput(
            f"Token id {low if low < 0 else high} is outside the model's vocabulary of {limits.vocabulary}.",
            hint="Use the tokenizer that was saved with these weights.",
        )


def _positions(token_ids: Tensor, bounds: tuple[int, ...], padding_id: int) -> Tensor:
    """Positions count the tokens of a document that are not padding; padding keeps the padding position."""
    real = token_ids != padding_id
    counted = torch.cumsum(real, 0)
    edges = send(torch.tensor(bounds, dtype=torch.long), token_ids.device)
    starts, lengths = edges[:-1], torch.diff(edges)
    before = torch.where(starts > 0, counted[(starts - 1).clamp_min(0)], 0)
    base = torch.repeat_interleave(before, lengths, output_size=bounds[-1])
    return (counted - base) * real + padding_id


def _padded_positions(input_ids: Tensor, padding_id: int) -> Tensor:
    real = input_ids != padding_id
    return torch.cumsum(real, 1) * real + padding_id


def _check_positions(positions: Tensor, bounds: tuple[int, ...], limits: StreamLimits) -> None:
    lengths = [stop - start for start, stop in pairwise(bounds)]
    # A padded row may count tokens outside its mask; short streams need no look at the device.
    if positions.device.type != "cpu" and max(lengths) <= limits.longest:
        return
    if int(positions.max()) >= limits.table:
        document = max(range(len(lengths)), key=lengths.__getitem__)
        raise BadInput(
            f"Document {document} of the batch has {lengths[document]:,} tokens; the position table ends at "
            f"{limits.longest:,}.",
            hint="Truncate or chunk the document, or extend the checkpoint's position table.",
        )


def _runs(mask: Tensor) -> list[int] | None:
    """Length of the single run of ones in each row, or None when a row has several runs or other values."""
    if not bool(((mask == 0) | (mask == 1)).all()):
        return None
    edges = torch.diff(torch.nn.functional.pad(mask.to(torch.int8), (1, 1)), dim=1)
    starts = (edges == 1).sum(1)
    if bool((starts == 0).any()):
        empty = int((starts == 0).nonzero()[0])
        raise BadInput(
            f"Document {empty} of the batch has no tokens.",
            hint="Set documents without tokens aside before scoring them.",
        )
    return None if bool((starts > 1).any()) else [int(length) for length in mask.sum(1)]


def _bounds(lengths: Sequence[int]) -> tuple[int, ...]:
    bounds = [0]
    for length in lengths:
        bounds.append(bounds[-1] + length)
    return tuple(bounds)


def _stream_globals(global_attention_mask: Tensor | None, mask: Tensor) -> Tensor | None:
    if global_attention_mask is None:
        return None
    host = mask.cpu() != 0
    return (global_attention_mask.cpu()[host] > 0).nonzero()[:, 0]


def _globals_of(
    bounds: tuple[int, ...], positions: Tensor | Sequence[int] | None
) -> tuple[tuple[int, ...], ...]:
    if positions is None:
        return tuple((start,) for start in bounds[:-1])
    marks = sorted({int(p) for p in (positions.tolist() if isinstance(positions, Tensor) else positions)})
    if marks and (marks[0] < 0 or marks[-1] >= bounds[-1]):
        raise BadInput(
            f"A global position lies outside the stream of {bounds[-1]} tokens.",
            hint="Global positions count from the start of the packed stream.",
        )
    found: list[list[int]] = [[] for _ in bounds[:-1]]
    document = 0
    for mark in marks:
        while mark >= bounds[document + 1]:
            document += 1
        found[document].append(mark)
    return tuple(tuple(document_marks) for document_marks in found)
