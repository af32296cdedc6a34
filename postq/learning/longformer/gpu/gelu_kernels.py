"""Triton kernel of the erf GELU's backward pass."""

import triton
import triton.language as tl


@triton.jit
def gelu_backward(
    inner, gradient, of_inner, activated, of_bias, count, stripes,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """From the GELU's input and the gradient of its output: the input's gradient, the output once more, and
    column sums of the former.

    `inner`, `gradient`, `of_inner`, `activated`: (count, WIDTH), of which the last two may lie where the
    first two do; `of_bias`: (stripes, WIDTH) float32.
    """
    stripe = tl.program_id(0)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    held = columns < WIDTH
    summed = tl.zeros([COLUMNS], tl.float32)
    for start in range(stripe * ROWS, count, stripes * ROWS):
        rows = (start + tl.arange(0, ROWS)).to(tl.int64)
        inside = (rows < count)[:, None] & held[None, :]
        place = rows[:, None] * WIDTH + columns[None, :]
        given = tl.load(inner + place, mask=inside, other=0.0).to(tl.float32)
        pulled = tl.load(gradient + place, mask=inside, other=0.0).to(tl.float32)
        below = 0.5 * (1.0 + tl.erf(given * 0.7071067811865476))
        slope = below + given * tl.exp(-0.5 * given * given) * 0.3989422804014327
        found = pulled * slope
        summed += tl.sum(found, 0)
        tl.store(of_inner + place, found.to(of_inner.dtype.element_ty), mask=inside)
        tl.store(activated + place, (given * below).to(activated.dtype.element_ty), mask=inside)
    tl.store(of_bias + stripe * WIDTH + columns, summed, mask=held)
