"""Triton kernels of the small products around what global tokens read: to ask, and to answer."""

import triton
import triton.language as tl


@triton.jit
def _of_head(pointer, head, columns, WIDTH: tl.constexpr, HIDDEN: tl.constexpr):
    """(WIDTH, columns) float32 rows of a head of a (hidden, HIDDEN) weight."""
    rows = head * WIDTH + tl.arange(0, WIDTH)
    place = pointer + rows[:, None] * HIDDEN + columns[None, :]
    return tl.load(place, mask=(columns < HIDDEN)[None, :], other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=["documents"])
def ask(
    firsts, query, bias, key, asking, documents, scale,
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr, DOCUMENTS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """`asking` (docs, heads, HIDDEN): scaled queries of the first tokens, through the transposed key weight.

    `firsts`: (docs, HIDDEN); `query`, `key`: (hidden, HIDDEN). A program answers for a head of DOCUMENTS.
    """
    rows = tl.program_id(0).to(tl.int64) * DOCUMENTS + tl.arange(0, DOCUMENTS)
    head, heads = tl.program_id(1), tl.num_programs(1)
    there = (rows < documents)[:, None]
    asked = tl.zeros([DOCUMENTS, WIDTH], tl.float32)
    for start in range(0, HIDDEN, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        inside = there & (columns < HIDDEN)[None, :]
        states = tl.load(firsts + rows[:, None] * HIDDEN + columns[None, :], mask=inside, other=0.0)
        weight = _of_head(query, head, columns, WIDTH, HIDDEN)
        asked = tl.dot(states.to(tl.float32), tl.trans(weight), asked, input_precision="ieee")
    shift = tl.load(bias + head * WIDTH + tl.arange(0, WIDTH)).to(tl.float32)
    asked = (asked + shift[None, :]) * scale
    for start in range(0, HIDDEN, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        found = tl.dot(asked, _of_head(key, head, columns, WIDTH, HIDDEN), input_precision="ieee")
        place = (rows[:, None] * heads + head) * HIDDEN + columns[None, :]
        inside = there & (columns < HIDDEN)[None, :]
        tl.store(asking + place, found.to(asking.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["documents"])
def answer(
    pooled, value, bias, rows_of, documents,
    WIDTH: tl.constexpr, HIDDEN: tl.constexpr, DOCUMENTS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """`rows_of` (docs, heads, WIDTH): mean states `pooled` (docs, heads, HIDDEN) through the value weight."""
    rows = tl.program_id(0).to(tl.int64) * DOCUMENTS + tl.arange(0, DOCUMENTS)
    head, heads = tl.program_id(1), tl.num_programs(1)
    there = (rows < documents)[:, None]
    found = tl.zeros([DOCUMENTS, WIDTH], tl.float32)
    for start in range(0, HIDDEN, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        place = (rows[:, None] * heads + head) * HIDDEN + columns[None, :]
        means = tl.load(pooled + place, mask=there & (columns < HIDDEN)[None, :], other=0.0)
        weight = _of_head(value, head, columns, WIDTH, HIDDEN)
        found = tl.dot(means, tl.trans(weight), found, input_precision="ieee")
    width = tl.arange(0, WIDTH)
    found += tl.load(bias + head * WIDTH + width).to(tl.float32)[None, :]
    place = (rows[:, None] * heads + head) * WIDTH + width[None, :]
    tl.store(rows_of + place, found.to(rows_of.dtype.element_ty), mask=there)
