"""Triton kernels of what global tokens read: the hidden states of their document, averaged by attention.

By weight absorption (`global_rows`) a head of a global token asks with one vector of the hidden size, and
what it gets is a mean of the hidden states. So one pass over the stream serves all heads of all documents. A
program reads one chunk of one document; what the chunks of a document found is joined afterwards.
"""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _by_head(pointer, heads, HEADS: tl.constexpr, HIDDEN: tl.constexpr, BLOCK: tl.constexpr):
    """(HEADS, BLOCK) of a (heads, HIDDEN) matrix, zeros beyond it."""
    rows, columns = tl.arange(0, HEADS), tl.arange(0, BLOCK)
    inside = (rows < heads)[:, None] & (columns < HIDDEN)[None, :]
    return tl.load(pointer + rows[:, None] * HIDDEN + columns[None, :], mask=inside, other=0.0)


@triton.jit
def _store_by_head(pointer, found, heads, HEADS: tl.constexpr, HIDDEN: tl.constexpr, BLOCK: tl.constexpr):
    rows, columns = tl.arange(0, HEADS), tl.arange(0, BLOCK)
    inside = (rows < heads)[:, None] & (columns < HIDDEN)[None, :]
    tl.store(pointer + rows[:, None] * HIDDEN + columns[None, :], found, mask=inside)


@triton.jit(do_not_specialize_on_alignment=["totals"])
def pool_chunks(
    states, asking, sums, highest, totals, chunks, heads,
    HEADS: tl.constexpr, HIDDEN: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """For each head, what one chunk adds: weighted sum of states, highest score and total weight.

    `states`: (tokens, HIDDEN); `asking`: (docs, heads, HIDDEN); `chunks`: table of blocks of
    CHUNK tokens (`blocks.Blocks`). `sums`: (chunks, heads, HIDDEN) float32; `highest` (base 2) and `totals`:
    (chunks, heads).
    """
    chunk = tl.program_id(0).to(tl.int64)
    begin = tl.load(chunks + 4 * chunk)
    end = tl.minimum(begin + CHUNK, tl.load(chunks + 4 * chunk + 2))
    document = tl.load(chunks + 4 * chunk + 3).to(tl.int64)
    asked = _by_head(asking + document * heads * HIDDEN, heads, HEADS, HIDDEN, BLOCK)
    columns = tl.arange(0, BLOCK)
    most = tl.full([HEADS], float("-inf"), tl.float32)
    total = tl.zeros([HEADS], tl.float32)
    acc = tl.zeros([HEADS, BLOCK], tl.float32)
    for start in range(begin, end, TOKENS):
        rows = start + tl.arange(0, TOKENS)
        inside = (rows < end)[:, None] & (columns < HIDDEN)[None, :]
        read = tl.load(
            states + rows.to(tl.int64)[:, None] * HIDDEN + columns[None, :], mask=inside, other=0.0
        )
        scores = tl.dot(asked, tl.trans(read)) * LOG2_E
        scores = tl.where((rows < end)[None, :], scores, float("-inf"))
        higher = tl.maximum(most, tl.max(scores, 1))
        shares = tl.exp2(scores - higher[:, None])
        shrink = tl.exp2(most - higher)
        total = total * shrink + tl.sum(shares, 1)
        acc = tl.dot(shares.to(read.dtype), read, acc * shrink[:, None])
        most = higher
    _store_by_head(sums + chunk * heads * HIDDEN, acc, heads, HEADS, HIDDEN, BLOCK)
    head = tl.arange(0, HEADS)
    tl.store(highest + chunk * heads + head, most, mask=head < heads)
    tl.store(totals + chunk * heads + head, total, mask=head < heads)


@triton.jit(do_not_specialize_on_alignment=["totals"])
def join_chunks(
    sums, highest, totals, pooled, weights, spans, heads, HIDDEN: tl.constexpr, BLOCK: tl.constexpr
):
    """(docs, heads, HIDDEN) means from what the chunks of each document found, and the log of all weight.

    `spans`: (docs + 1,) int32, which chunks are the document's. `weights`: (docs, heads), base 2.
    """
    document, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    begin, end = tl.load(spans + document), tl.load(spans + document + 1)
    columns = tl.arange(0, BLOCK)
    most = tl.load(highest + begin.to(tl.int64) * heads + head)
    total = tl.load(totals + begin.to(tl.int64) * heads + head)
    acc = tl.load(
        sums + (begin.to(tl.int64) * heads + head) * HIDDEN + columns, mask=columns < HIDDEN, other=0.0
    )
    for chunk in range(begin + 1, end):
        place = chunk * heads + head
        high = tl.load(highest + place)
        higher = tl.maximum(most, high)
        shrink, other = tl.exp2(most - higher), tl.exp2(high - higher)
        total = total * shrink + tl.load(totals + place) * other
        part = tl.load(sums + place * HIDDEN + columns, mask=columns < HIDDEN, other=0.0)
        acc = acc * shrink + part * other
        most = higher
    place = document * heads + head
    tl.store(pooled + place * HIDDEN + columns, acc / total, mask=columns < HIDDEN)
    tl.store(weights + place, most + tl.log2(total))


@triton.jit
def pool_backward(
    states, asking, gradient, weights, deltas, of_states, of_asking, chunks, heads,
    HEADS: tl.constexpr, HIDDEN: tl.constexpr, BLOCK: tl.constexpr, CHUNK: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """Gradients of a chunk's states, and its share of those of what its document's heads asked with.

    `gradient`: (docs, heads, HIDDEN) in the states' format; `deltas`: (docs, heads), Σ pooled · gradient;
    `of_asking`: (chunks, heads, HIDDEN) float32.
    """
    chunk = tl.program_id(0).to(tl.int64)
    begin = tl.load(chunks + 4 * chunk)
    end = tl.minimum(begin + CHUNK, tl.load(chunks + 4 * chunk + 2))
    document = tl.load(chunks + 4 * chunk + 3).to(tl.int64)
    asked = _by_head(asking + document * heads * HIDDEN, heads, HEADS, HIDDEN, BLOCK)
    pulled = _by_head(gradient + document * heads * HIDDEN, heads, HEADS, HIDDEN, BLOCK)
    head, columns = tl.arange(0, HEADS), tl.arange(0, BLOCK)
    weight = tl.load(weights + document * heads + head, mask=head < heads, other=float("inf"))
    delta = tl.load(deltas + document * heads + head, mask=head < heads, other=0.0)
    acc = tl.zeros([HEADS, BLOCK], tl.float32)
    for start in range(begin, end, TOKENS):
        rows = start + tl.arange(0, TOKENS)
        inside = (rows < end)[:, None] & (columns < HIDDEN)[None, :]
        place = rows.to(tl.int64)[:, None] * HIDDEN + columns[None, :]
        read = tl.load(states + place, mask=inside, other=0.0)
        scores = tl.dot(asked, tl.trans(read)) * LOG2_E
        shares = tl.where((rows < end)[None, :], tl.exp2(scores - weight[:, None]), 0.0)
        of_shares = tl.dot(pulled, tl.trans(read))
        of_scores = (shares * (of_shares - delta[:, None])).to(read.dtype)
        found = tl.dot(tl.trans(shares.to(read.dtype)), pulled)
        found = tl.dot(tl.trans(of_scores), asked, found)
        tl.store(of_states + place, found.to(read.dtype), mask=inside)
        acc = tl.dot(of_scores, read, acc)
    _store_by_head(of_asking + chunk * heads * HIDDEN, acc, heads, HEADS, HIDDEN, BLOCK)
