"""Triton kernels of a residual block's end: bias, dropout, sum and layer norm in one pass over the stream."""

import triton
import triton.language as tl


@triton.jit
def _summed(update, states, shift, place, inside, seed, dropout, DROPS: tl.constexpr):
    """(rows, BLOCK) float32 sum of the states and what the dropout left of the update; and what it kept."""
    added = tl.load(update + place, mask=inside, other=0.0).to(tl.float32) + shift[None, :]
    keep = tl.full(place.shape, 1.0, tl.float32)
    if DROPS:
        keep = tl.where(tl.rand(seed, place, 7) >= dropout, 1.0 / (1.0 - dropout), 0.0)
    return added * keep + tl.load(states + place, mask=inside, other=0.0).to(tl.float32), keep


@triton.jit(do_not_specialize=["seed", "count"], do_not_specialize_on_alignment=["scales"])
def add_norm(
    update, bias, states, gain, shift, normed, narrow, means, scales, seed, dropout, count, epsilon,
    HIDDEN: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
    DROPS: tl.constexpr, KEEPS: tl.constexpr, NARROWS: tl.constexpr,
):  # fmt: skip
    """`normed` (count, HIDDEN) of update + bias and states, the same in another number format where NARROWS,
    and where KEEPS each row's mean and 1 / standard deviation.
    """
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, BLOCK)
    held = columns < HIDDEN
    inside = (rows < count)[:, None] & held[None, :]
    place = rows[:, None] * HIDDEN + columns[None, :]
    added = tl.load(bias + columns, mask=held, other=0.0).to(tl.float32)
    whole, _ = _summed(update, states, added, place, inside, seed, dropout, DROPS)
    mean = tl.sum(whole, 1) / HIDDEN
    centred = tl.where(inside, whole - mean[:, None], 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, 1) / HIDDEN + epsilon)
    by = tl.load(gain + columns, mask=held, other=0.0).to(tl.float32)
    then = tl.load(shift + columns, mask=held, other=0.0).to(tl.float32)
    found = centred * scale[:, None] * by[None, :] + then[None, :]
    tl.store(normed + place, found.to(normed.dtype.element_ty), mask=inside)
    if NARROWS:
        tl.store(narrow + place, found.to(narrow.dtype.element_ty), mask=inside)
    if KEEPS:
        tl.store(means + rows, mean, mask=rows < count)
        tl.store(scales + rows, scale, mask=rows < count)


@triton.jit(do_not_specialize=["seed", "count"], do_not_specialize_on_alignment=["scales"])
def add_norm_backward(
    update, bias, states, gain, means, scales, gradient, narrow_gradient, document_of, of_firsts,
    of_update, of_states, of_vectors, seed, dropout, count,
    HIDDEN: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr,
    DROPS: tl.constexpr, WIDE: tl.constexpr, NARROWS: tl.constexpr, FIRSTS: tl.constexpr,
):  # fmt: skip
    """Gradients of update and states, and each program's share of those of gain, shift and bias.

    The gradient is the sum of those that there are: of the states WIDE, of their NARROW copy, and of the
    FIRSTS, rows that were handed out: `document_of` (count,) int32 is the number of such a row and else -1.
    `of_vectors`: (programs, 3, HIDDEN) float32. The sum of update and states is formed again.
    """
    program, programs = tl.program_id(0), tl.num_programs(0)
    columns = tl.arange(0, BLOCK)
    held = columns < HIDDEN
    by = tl.load(gain + columns, mask=held, other=0.0).to(tl.float32)
    added = tl.load(bias + columns, mask=held, other=0.0).to(tl.float32)
    of_gain = tl.zeros([BLOCK], tl.float32)
    of_shift = tl.zeros([BLOCK], tl.float32)
    of_bias = tl.zeros([BLOCK], tl.float32)
    for start in range(program * ROWS, count, programs * ROWS):
        rows = (start + tl.arange(0, ROWS)).to(tl.int64)
        inside = (rows < count)[:, None] & held[None, :]
        place = rows[:, None] * HIDDEN + columns[None, :]
        whole, keep = _summed(update, states, added, place, inside, seed, dropout, DROPS)
        mean = tl.load(means + rows, mask=rows < count, other=0.0)
        scale = tl.load(scales + rows, mask=rows < count, other=0.0)
        standard = tl.where(inside, (whole - mean[:, None]) * scale[:, None], 0.0)
        pulled = tl.zeros(place.shape, tl.float32)
        if WIDE:
            pulled += tl.load(gradient + place, mask=inside, other=0.0).to(tl.float32)
        if NARROWS:
            pulled += tl.load(narrow_gradient + place, mask=inside, other=0.0).to(tl.float32)
        if FIRSTS:
            document = tl.load(document_of + rows, mask=rows < count, other=-1)
            handed = of_firsts + document.to(tl.int64)[:, None] * HIDDEN + columns[None, :]
            pulled += tl.load(handed, mask=inside & (document >= 0)[:, None], other=0.0).to(tl.float32)
        of_gain += tl.sum(pulled * standard, 0)
        of_shift += tl.sum(pulled, 0)
        scaled = pulled * by[None, :]
        along = tl.sum(scaled * standard, 1) / HIDDEN
        level = tl.sum(scaled, 1) / HIDDEN
        found = (scaled - level[:, None] - standard * along[:, None]) * scale[:, None]
        kept = found * keep
        of_bias += tl.sum(tl.where(inside, kept, 0.0), 0)
        tl.store(of_states + place, found.to(of_states.dtype.element_ty), mask=inside)
        tl.store(of_update + place, kept.to(of_update.dtype.element_ty), mask=inside)
    place = of_vectors + program * 3 * HIDDEN + columns
    tl.store(place, of_gain, mask=held)
    tl.store(place + HIDDEN, of_shift, mask=held)
    tl.store(place + 2 * HIDDEN, of_bias, mask=held)
