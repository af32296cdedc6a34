"""Sliding-window attention on the CPU by postq's own compiled kernel, with exact gradients.

The source is in `native/`. It is built with postq where there is a C compiler, and needs a processor with
AVX-512. Other machines, number formats and head widths go through `banded.py`, at equal outputs but for
rounding. Each document is summed in an order that depends on its length and the window alone, whatever shares
its stream and however many threads there are.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from numpy import float32
from numpy.typing import NDArray
from torch import Tensor

from postq.learning.longformer.banded import answer_space, banded_attention
from postq.learning.longformer.packing import PackedBatch, StreamLimits, pack

try:
    from postq.learning.longformer import _band
except ImportError:  # postq was installed without a C compiler
    _band = None  # type: ignore[assignment]

WIDTH_MULTIPLE = 16
MOST_WIDTH = 128


def native_attention(
    query: Tensor, key: Tensor, value: Tensor, global_rows: Tensor, batch: PackedBatch, *, window: int
) -> Tensor:
    """(tokens, heads, width) attention of every token; rows of global tokens are `global_rows` (docs, heads,
    width).

    Only for what `serves` is true for, and for streams whose documents have exactly their first token global.
    """
    if torch.is_grad_enabled():
        arguments = (query, key, value, global_rows, batch.first_index, batch.bounds, window // 2)
        answered: Tensor = _NativeAttention.apply(*arguments)  # type: ignore[no-untyped-call]
        return answered
    output = answer_space(query, batch)
    _forward(query, key, value, output, None, batch.bounds, window // 2)
    output[batch.first_index] = global_rows
    return output


def serves(query: Tensor) -> bool:
    """True where the kernel takes tensors like this one (tokens, heads, width)."""
    width = query.shape[-1]
    return (
        query.device.type == "cpu"
        and query.dtype == torch.float32
        and 0 < width <= MOST_WIDTH
        and width % WIDTH_MULTIPLE == 0
    )


@cache
def why_no_native() -> str | None:
    """Why this machine does not run the kernel, or None if it does."""
    if _band is None:
        return "the compiled kernel was not built when postq was installed"
    if not _band.available():
        return "the compiled kernel needs a processor with AVX-512"
    if not _agrees():
        return "the compiled kernel disagrees with the flash kernel on this machine"
    return None


def _agrees() -> bool:
    """Compare answers and gradients with `banded_attention` on a small random stream."""
    own = torch.Generator().manual_seed(0)
    limits = StreamLimits(vocabulary=10, table=100, padding_id=1)
    batch = pack(torch.full((130,), 5), [0, 41, 130], limits=limits, device=torch.device("cpu"))
    parts = [torch.randn(130, 2, 32, generator=own) for _ in range(3)]
    rows = torch.randn(2, 2, 32, generator=own)
    found = [_tried(attend, [*parts, rows], batch) for attend in (banded_attention, native_attention)]
    return all(torch.allclose(one, other, rtol=1e-4, atol=1e-4) for one, other in zip(*found, strict=True))


def _tried(attend: Callable[..., Tensor], parts: list[Tensor], batch: PackedBatch) -> list[Tensor]:
    """The answer and its gradients."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        leaves = [part.clone().requires_grad_() for part in parts]
        answer = attend(*leaves, batch, window=16)
        return [answer.detach(), *torch.autograd.grad(answer.square().sum(), leaves)]


def _forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor | None,
    bounds: tuple[int, ...],
    reach: int,
) -> None:
    _band.forward(
        _array(query),
        _array(key),
        _array(value),
        _array(output),
        None if lse is None else _array(lse),
        bounds,
        reach,
        torch.get_num_threads(),
    )


def _array(part: Tensor) -> NDArray[float32]:
    """The same memory for the kernel to read or write."""
    array: NDArray[float32] = part.detach().numpy()
    return array


class _NativeAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        global_rows: Tensor,
        firsts: Tensor,
        bounds: tuple[int, ...],
        reach: int,
    ) -> Tensor:
        output = torch.empty_like(query, memory_format=torch.contiguous_format)
        lse = query.new_zeros(query.shape[:2])
        _forward(query, key, value, output, lse, bounds, reach)
        output[firsts] = global_rows
        ctx.save_for_backward(query, key, value, output, lse, firsts)
        ctx.bounds, ctx.reach = bounds, reach
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, lse, firsts = ctx.saved_tensors
        into = tuple(torch.zeros_like(t, memory_format=torch.contiguous_format) for t in (query, key, value))
        _band.backward(
            _array(query),
            _array(key),
            _array(value),
            _array(output),
            _array(lse),
            _array(gradient.contiguous()),
            _array(into[0]),
            _array(into[1]),
            _array(into[2]),
            ctx.bounds,
            ctx.reach,
            torch.get_num_threads(),
        )
        return (*into, gradient[firsts], None, None, None)
