"""The geometry of sliding-window attention: which query blocks meet which keys, and under what mask."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """`blocks` equal query blocks, one after another, each against its own run of keys.

    Block i asks for rows [query + i·rows, query + (i+1)·rows) against keys [key + i·rows, key + i·rows +
    keys).
    """

    query: int
    rows: int
    key: int
    keys: int
    blocks: int = 1
    mask: tuple[int, int] | None = None
    """(first query row, first key) within the mask's frame, or None where every pair is allowed."""
    column: int | None = None
    """Stream position of a global token that these queries see besides their keys."""

    @property
    def stop(self) -> int:
        """The query row after the last one."""
        return self.query + self.rows * self.blocks


def plan_spans(documents: tuple[tuple[int, int], ...], *, reach: int, rows: int) -> list[Span]:
    """Cut documents whose first token is global into spans; `reach` is half the window, `rows` the block
    size.

    The queries are tokens 1…n-1 of each document. While a block still reaches the start, the global token is
    simply the first of its keys; further in it is a `column` of its own.
    """
    return [span for start, stop in documents for span in _document_spans(start, stop, reach, rows)]


def _document_spans(start: int, stop: int, reach: int, rows: int) -> list[Span]:
    first = start + 1
    if first == stop:
        return []
    if stop - 1 - first <= reach:
        return [Span(query=first, rows=stop - first, key=start, keys=stop - start)]
    head = [_edge(start, stop, query, reach, rows) for query in _head(first, stop, reach, rows)]
    inner = head[-1].stop
    if inner >= stop:
        return head
    uniform = max(0, (stop - reach - inner) // rows)
    body = [_inner(start, inner, reach, rows, uniform)] if uniform else []
    tail = range(inner + uniform * rows, stop, rows)
    return head + body + [_tail(start, stop, query, reach, rows) for query in tail]


def _head(first: int, stop: int, reach: int, rows: int) -> range:
    return range(first, min(stop, first + reach + 1), rows)


def _edge(start: int, stop: int, query: int, reach: int, rows: int) -> Span:
    last = min(query + rows, stop)
    return Span(
        query=query,
        rows=last - query,
        key=start,
        keys=min(last + reach, stop) - start,
        mask=(query - start, 0),
    )


def _inner(start: int, query: int, reach: int, rows: int, blocks: int) -> Span:
    return Span(
        query=query,
        rows=rows,
        key=query - reach,
        keys=rows + 2 * reach,
        blocks=blocks,
        mask=(reach, -1),
        column=start,
    )


def _tail(start: int, stop: int, query: int, reach: int, rows: int) -> Span:
    last = min(query + rows, stop)
    low = query - reach
    return Span(
        query=query,
        rows=last - query,
        key=low,
        keys=min(last + reach, stop) - low,
        mask=(reach, -1),
        column=start,
    )


@lru_cache(maxsize=256)
def band_frame(rows: int, frame: tuple[int, int], reach: int, dtype: torch.dtype) -> Tensor:
    """(rows, keys) additive mask: 0 where a pair may meet, -inf elsewhere; smaller spans use its corner.

    `frame` is (position of the first query, position of an always visible key or -1), counted from the first
    key.
    """
    query, sink = frame
    keys = query + rows + reach
    distance = torch.arange(keys)[None, :] - (torch.arange(rows)[:, None] + query)
    mask = torch.zeros(rows, keys, dtype=dtype).masked_fill_(distance.abs() > reach, -math.inf)
    if sink >= 0:
        mask[:, sink] = 0
    return mask
