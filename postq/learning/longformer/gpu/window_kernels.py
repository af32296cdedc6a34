"""Triton kernels of sliding-window attention over packed documents: forward, and the two halves of backward.

Flash attention (Dao, arXiv 2307.08691) with the window's bounds for loops, after the stock semantics: a
document's first token is global, which makes it no key of the window and one more column for every other
token. A program answers for one head of one block of tokens, and blocks never span documents. That column
costs no product: it is where the running softmax begins.
"""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _keep(seed, rows, columns, dropout, reach):
    """1 / (1 - dropout) where a pair is kept and 0 where it is dropped, from nothing but the pair itself."""
    pair = rows * (2 * reach + 2) + (columns - rows + reach + 1)
    return tl.where(tl.rand(seed, pair, 7) >= dropout, 1.0 / (1.0 - dropout), 0.0)


@triton.jit
def _keep_column(seed, rows, dropout, reach):
    """The same of every row's pair with the global token."""
    return tl.where(tl.rand(seed, rows * (2 * reach + 2), 7) >= dropout, 1.0 / (1.0 - dropout), 0.0)


@triton.jit
def _bounds(blocks, block):
    """First token of a block, and first token and end of its document."""
    place = blocks + 4 * block
    return tl.load(place), tl.load(place + 1), tl.load(place + 2)


@triton.jit
def _rows_of(pointer, rows, stride, WIDTH: tl.constexpr):
    """(rows, width) pointers."""
    return pointer + rows.to(tl.int64)[:, None] * stride + tl.arange(0, WIDTH)[None, :]


@triton.jit
def _softmax_step(
    acc, total, most, query, keys, values, rows, columns, lowest, span, seed, dropout, reach, scale,
    MASKED: tl.constexpr, DROPS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The running softmax of a block of queries after one more block of keys.

    A query reads the keys from `lowest` to `lowest` + `span`; without MASKED it reads all of them.
    """
    scores = tl.dot(query, tl.trans(keys), input_precision=PRECISION)
    if MASKED:
        near = (columns[None, :] - lowest[:, None]).to(tl.uint32) <= span[:, None]
        scores = tl.where(near, scores, float("-inf"))
    higher = tl.maximum(most, tl.max(scores, 1) * scale)
    shares = tl.exp2(scores * scale - higher[:, None])
    shrink = tl.exp2(most - higher)
    total = total * shrink + tl.sum(shares, 1)
    if DROPS:
        shares = shares * _keep(seed, rows[:, None], columns[None, :], dropout, reach)
    acc = acc * shrink[:, None]
    acc = tl.dot(shares.to(values.dtype), values, acc, input_precision=PRECISION)
    return acc, total, higher


@triton.jit
def _edge_step(
    acc, total, most, query, rows, columns, lowest, span, low, stop, key, value, stride,
    seed, dropout, reach, scale,
    WIDTH: tl.constexpr, DROPS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The same at an end of the window, where not every query reads every key."""
    inside = ((columns >= low) & (columns < stop))[:, None]
    keys = tl.load(_rows_of(key, columns, stride, WIDTH), mask=inside, other=0.0)
    values = tl.load(_rows_of(value, columns, stride, WIDTH), mask=inside, other=0.0)
    return _softmax_step(
        acc, total, most, query, keys, values, rows, columns, lowest, span,
        seed, dropout, reach, scale, True, DROPS, PRECISION,
    )  # fmt: skip


@triton.jit(do_not_specialize=["seed", "tokens"])
def window_forward(
    query, key, value, answers, sums, blocks, seed, dropout,
    stride, answer_stride, tokens, reach, scale,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    DROPS: tl.constexpr, KEEPS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Answers of one block of queries, and where KEEPS their log-sum-exp (base 2).

    `query`, `key`, `value`: (tokens, heads, width), `stride` from token to token; `answers`: the same shape.
    `blocks`: their table (`blocks.Blocks`). `sums`: (heads, tokens). `scale` includes log2(e).
    """
    block, head = tl.program_id(0), tl.program_id(1)
    begin, first, stop = _bounds(blocks, block)
    query, key, value = query + head * WIDTH, key + head * WIDTH, value + head * WIDTH
    seed += head
    width = tl.arange(0, WIDTH)
    rows = begin + tl.arange(0, ROWS)
    own = rows < stop
    asked = tl.load(_rows_of(query, rows, stride, WIDTH), mask=own[:, None], other=0.0)
    column = tl.load(key + first.to(tl.int64) * stride + width).to(tl.float32)
    reply = tl.load(value + first.to(tl.int64) * stride + width).to(tl.float32)
    most = tl.sum(asked.to(tl.float32) * column[None, :], 1) * scale
    total = tl.full([ROWS], 1.0, tl.float32)
    acc = tl.zeros([ROWS, WIDTH], tl.float32) + reply[None, :]
    if DROPS:
        acc = acc * _keep_column(seed, rows, dropout, reach)[:, None]
    last = tl.minimum(begin + ROWS, stop)
    low, high = tl.maximum(begin - reach, first + 1), tl.minimum(last + reach, stop)
    left = low + tl.cdiv(tl.maximum(last - 1 - reach - low, 0), COLUMNS) * COLUMNS
    left = tl.minimum(left, high)
    right = left + tl.maximum(tl.minimum(begin + reach + 1, stop) - left, 0) // COLUMNS * COLUMNS
    lowest = tl.maximum(rows - reach, first + 1)
    span = (tl.minimum(rows + reach, stop - 1) - lowest).to(tl.uint32)
    steps = tl.arange(0, COLUMNS)
    for start in range(low, left, COLUMNS):
        acc, total, most = _edge_step(
            acc, total, most, asked, rows, start + steps, lowest, span, low, stop, key, value, stride,
            seed, dropout, reach, scale, WIDTH, DROPS, PRECISION,
        )  # fmt: skip
    keys, values = _rows_of(key, left + steps, stride, WIDTH), _rows_of(value, left + steps, stride, WIDTH)
    for start in range(left, right, COLUMNS):
        acc, total, most = _softmax_step(
            acc, total, most, asked, tl.load(keys), tl.load(values), rows, start + steps, lowest, span,
            seed, dropout, reach, scale, False, DROPS, PRECISION,
        )  # fmt: skip
        keys += COLUMNS * stride
        values += COLUMNS * stride
    for start in range(right, high, COLUMNS):
        acc, total, most = _edge_step(
            acc, total, most, asked, rows, start + steps, lowest, span, low, stop, key, value, stride,
            seed, dropout, reach, scale, WIDTH, DROPS, PRECISION,
        )  # fmt: skip
    acc = acc / total[:, None]
    tl.store(
        _rows_of(answers + head * WIDTH, rows, answer_stride, WIDTH), acc.to(asked.dtype), mask=own[:, None]
    )
    if KEEPS:
        tl.store(sums + head.to(tl.int64) * tokens + rows, most + tl.log2(total), mask=own)


@triton.jit
def _query_step(
    of_query, query, gradient, sums, deltas, rows, columns, low, stop, key, value, stride,
    seed, dropout, reach, scale,
    WIDTH: tl.constexpr, DROPS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The gradient of a block of queries (not yet scaled) after one more block of keys."""
    inside = (columns >= low) & (columns < stop)
    keys = tl.load(_rows_of(key, columns, stride, WIDTH), mask=inside[:, None], other=0.0)
    values = tl.load(_rows_of(value, columns, stride, WIDTH), mask=inside[:, None], other=0.0)
    placed = tl.where(inside, columns, -(2**30))
    near = (placed[None, :] - (rows - reach)[:, None]).to(tl.uint32) <= 2 * reach
    scores = tl.dot(query, tl.trans(keys), input_precision=PRECISION)
    shares = tl.where(near, tl.exp2(scores * scale - sums[:, None]), 0.0)
    of_shares = tl.dot(gradient, tl.trans(values), input_precision=PRECISION)
    if DROPS:
        of_shares = of_shares * _keep(seed, rows[:, None], columns[None, :], dropout, reach)
    of_scores = shares * (of_shares - deltas[:, None])
    return tl.dot(of_scores.to(keys.dtype), keys, of_query, input_precision=PRECISION)


@triton.jit(do_not_specialize=["seed", "tokens"])
def window_backward_queries(
    query, key, value, answers, gradient, sums, deltas, of_query, of_columns, blocks, seed, dropout,
    stride, answer_stride, gradient_stride, tokens, reach, scale,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    DROPS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Gradients of one block of queries, and its share of those of the global token's key and value.

    Writes `deltas` (heads, tokens) too, which `window_backward_keys` reads: run this one first. `of_query`:
    (tokens, heads, width) with `gradient_stride` from token to token. `of_columns`: (blocks, heads, 2, width)
    float32.
    """
    block, head, heads = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    begin, first, stop = _bounds(blocks, block)
    query, key, value = query + head * WIDTH, key + head * WIDTH, value + head * WIDTH
    seed += head
    width = tl.arange(0, WIDTH)
    rows = begin + tl.arange(0, ROWS)
    own = rows < stop
    asked = tl.load(_rows_of(query, rows, stride, WIDTH), mask=own[:, None], other=0.0)
    answered = tl.load(
        _rows_of(answers + head * WIDTH, rows, answer_stride, WIDTH), mask=own[:, None], other=0.0
    )
    pulled = tl.load(
        _rows_of(gradient + head * WIDTH, rows, answer_stride, WIDTH), mask=own[:, None], other=0.0
    )
    summed = tl.load(sums + head.to(tl.int64) * tokens + rows, mask=own, other=0.0)
    wide = pulled.to(tl.float32)
    delta = tl.sum(answered.to(tl.float32) * wide, 1)
    tl.store(deltas + head.to(tl.int64) * tokens + rows, delta, mask=own)
    column = tl.load(key + first.to(tl.int64) * stride + width).to(tl.float32)
    reply = tl.load(value + first.to(tl.int64) * stride + width).to(tl.float32)
    share = tl.exp2(tl.sum(asked.to(tl.float32) * column[None, :], 1) * scale - summed)
    share = tl.where(own, share, 0.0)
    of_share = tl.sum(wide * reply[None, :], 1)
    kept = share
    if DROPS:
        keep = _keep_column(seed, rows, dropout, reach)
        of_share = of_share * keep
        kept = share * keep
    of_score = share * (of_share - delta)
    found = of_score[:, None] * column[None, :]
    place = of_columns + (block.to(tl.int64) * heads + head) * 2 * WIDTH + width
    tl.store(place, tl.sum(of_score[:, None] * asked.to(tl.float32), 0) * (scale / LOG2_E))
    tl.store(place + WIDTH, tl.sum(kept[:, None] * wide, 0))
    last = tl.minimum(begin + ROWS, stop)
    low, high = tl.maximum(begin - reach, first + 1), tl.minimum(last + reach, stop)
    for start in range(low, high, COLUMNS):
        found = _query_step(
            found, asked, pulled, summed, delta, rows, start + tl.arange(0, COLUMNS), low, stop,
            key, value, stride, seed, dropout, reach, scale, WIDTH, DROPS, PRECISION,
        )  # fmt: skip
    tl.store(
        _rows_of(of_query + head * WIDTH, rows, gradient_stride, WIDTH),
        (found * (scale / LOG2_E)).to(asked.dtype),
        mask=own[:, None],
    )


@triton.jit
def _key_step(
    of_key, of_value, keys, values, columns, rows, low, high, query, gradient, sums, deltas,
    stride, answer_stride, seed, dropout, reach, scale,
    WIDTH: tl.constexpr, DROPS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The gradients of a block of keys (not yet scaled) and values after one more block of queries."""
    inside = (rows >= low) & (rows < high)
    asked = tl.load(_rows_of(query, rows, stride, WIDTH), mask=inside[:, None], other=0.0)
    pulled = tl.load(_rows_of(gradient, rows, answer_stride, WIDTH), mask=inside[:, None], other=0.0)
    summed = tl.load(sums + rows, mask=inside, other=0.0)
    delta = tl.load(deltas + rows, mask=inside, other=0.0)
    placed = tl.where(inside, rows, -(2**30))
    near = (placed[None, :] - (columns - reach)[:, None]).to(tl.uint32) <= 2 * reach
    scores = tl.dot(keys, tl.trans(asked), input_precision=PRECISION)
    shares = tl.where(near, tl.exp2(scores * scale - summed[None, :]), 0.0)
    of_shares = tl.dot(values, tl.trans(pulled), input_precision=PRECISION)
    if DROPS:
        keep = _keep(seed, rows[None, :], columns[:, None], dropout, reach)
        kept = shares * keep
        of_shares = of_shares * keep
    else:
        kept = shares
    of_value = tl.dot(kept.to(pulled.dtype), pulled, of_value, input_precision=PRECISION)
    of_scores = shares * (of_shares - delta[None, :])
    of_key = tl.dot(of_scores.to(asked.dtype), asked, of_key, input_precision=PRECISION)
    return of_key, of_value


@triton.jit(do_not_specialize=["seed", "tokens"])
def window_backward_keys(
    query, key, value, gradient, sums, deltas, of_key, of_value, blocks, seed, dropout,
    stride, answer_stride, gradient_stride, tokens, reach, scale,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    DROPS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Gradients of one block of ROWS keys and values; COLUMNS queries at a time answer for them."""
    block, head = tl.program_id(0), tl.program_id(1)
    begin, first, stop = _bounds(blocks, block)
    query, key, value = query + head * WIDTH, key + head * WIDTH, value + head * WIDTH
    gradient += head * WIDTH
    sums += head.to(tl.int64) * tokens
    deltas += head.to(tl.int64) * tokens
    seed += head
    columns = begin + tl.arange(0, ROWS)
    own = columns < stop
    keys = tl.load(_rows_of(key, columns, stride, WIDTH), mask=own[:, None], other=0.0)
    values = tl.load(_rows_of(value, columns, stride, WIDTH), mask=own[:, None], other=0.0)
    found_key = tl.zeros([ROWS, WIDTH], tl.float32)
    found_value = tl.zeros([ROWS, WIDTH], tl.float32)
    last = tl.minimum(begin + ROWS, stop)
    low, high = tl.maximum(begin - reach, first + 1), tl.minimum(last + reach, stop)
    for start in range(low, high, COLUMNS):
        found_key, found_value = _key_step(
            found_key, found_value, keys, values, columns, start + tl.arange(0, COLUMNS), low, high,
            query, gradient, sums, deltas, stride, answer_stride, seed, dropout, reach, scale,
            WIDTH, DROPS, PRECISION,
        )  # fmt: skip
    tl.store(
        _rows_of(of_key + head * WIDTH, columns, gradient_stride, WIDTH),
        (found_key * (scale / LOG2_E)).to(keys.dtype),
        mask=own[:, None],
    )
    tl.store(
        _rows_of(of_value + head * WIDTH, columns, gradient_stride, WIDTH),
        found_value.to(keys.dtype),
        mask=own[:, None],
    )
