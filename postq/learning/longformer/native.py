"""Sliding-window attention on the CPU by postq's own compiled kernels, with exact gradients.

There is one for float32 and, for processors with AMX, one for bfloat16; elsewhere bfloat16 goes through
float32. Other machines, number formats and head widths go through `banded.py`, at equal outputs but for
rounding. Each document is summed in an order that depends on its length and the window alone, whatever shares
its stream and however many threads there are.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from postq.learning.longformer.banded import answer_space, banded_attention
from postq.learning.longformer.compiled import (
    Attention,
    as_array,
    as_numbers,
    compiled,
    compiled_narrow,
    float32_on_cpu,
    why_not_compiled,
    why_not_compiled_narrow,
)
from postq.learning.longformer.packing import PackedBatch, StreamLimits, pack

WIDTH_MULTIPLE, NARROW_WIDTH_MULTIPLE = 16, 32
MOST_WIDTH = 128
SERVED = f"it serves float32, bfloat16 and head widths in steps of {WIDTH_MULTIPLE} up to {MOST_WIDTH}"


def native_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    global_rows: Tensor,
    batch: PackedBatch,
    *,
    window: int,
    dropout: float = 0.0,
) -> Tensor:
    """(tokens, heads, width) attention of every token; rows of global tokens are `global_rows` (docs, heads,
    width).

    Only for what `serves` is true for, and for streams whose documents have exactly their first token global.
    With `dropout` one number is drawn from torch's generator, and from it follows which probabilities are
    dropped: nothing is kept for the backward, which finds the same ones.
    """
    if not _has_own(query):
        wide = native_attention(
            query.float(),
            key.float(),
            value.float(),
            global_rows.float(),
            batch,
            window=window,
            dropout=dropout,
        )
        return wide.to(query.dtype)
    return _own_attention(query, key, value, global_rows, batch, window=window, dropout=dropout)


def _own_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    global_rows: Tensor,
    batch: PackedBatch,
    *,
    window: int,
    dropout: float = 0.0,
) -> Tensor:
    """The same by the kernel for this very number format."""
    call = _Call(batch.bounds, window // 2, dropout, _seed() if dropout else 0)
    if torch.is_grad_enabled():
        arguments = (query, key, value, global_rows, batch.first_index, call)
        answered: Tensor = _NativeAttention.apply(*arguments)  # type: ignore[no-untyped-call]
        return answered
    output = answer_space(query, batch)
    _forward(query, key, value, output, None, call)
    output[batch.first_index] = global_rows
    return output


class _Call(NamedTuple):
    """What the compiled functions are told besides arrays; `reach` is half the window."""

    bounds: tuple[int, ...]
    reach: int
    dropout: float
    seed: int

    def settings(self) -> tuple[tuple[int, ...], int, int, float, int]:
        """In the order in which they take it."""
        return self.bounds, self.reach, torch.get_num_threads(), self.dropout, self.seed


def _seed() -> int:
    return int(torch.randint(1 << 62, (), device="cpu"))


def serves(query: Tensor) -> bool:
    """True where the kernels take tensors like this one (tokens, heads, width)."""
    width = query.shape[-1]
    known = query.device.type == "cpu" and query.dtype in (torch.float32, torch.bfloat16)
    return known and 0 < width <= MOST_WIDTH and width % WIDTH_MULTIPLE == 0


def _has_own(query: Tensor) -> bool:
    """Whether there is a kernel for this number format; bfloat16 can do without."""
    if query.dtype == torch.float32:
        return True
    return query.shape[-1] % NARROW_WIDTH_MULTIPLE == 0 and why_no_narrow() is None


@cache
def why_no_native() -> str | None:
    """Why this machine does not run the kernel for float32, or None if it does."""
    why_not = why_not_compiled()
    if why_not is None and not _agrees(torch.float32, 1e-4):
        return "the compiled kernel disagrees with the flash kernel on this machine"
    return why_not


@cache
def why_no_narrow() -> str | None:
    """Why it does not run the one for bfloat16, or None if it does."""
    why_not = why_not_compiled_narrow()
    if why_not is None and not _agrees(torch.bfloat16, 0.05):
        return "the compiled kernel for bfloat16 disagrees with the flash kernel on this machine"
    return why_not


@float32_on_cpu()
def _agrees(dtype: torch.dtype, tolerance: float) -> bool:
    """Compare answers and gradients with `banded_attention` on a small random stream of few digits."""
    own = torch.Generator().manual_seed(0)
    limits = StreamLimits(vocabulary=10, table=100, padding_id=1)
    batch = pack(torch.full((130,), 5), [0, 41, 130], limits=limits, device=torch.device("cpu"))
    shapes = [*[(130, 2, 32)] * 3, (2, 2, 32)]
    parts = [torch.randn(*shape, generator=own, dtype=torch.float32).bfloat16() for shape in shapes]
    wanted = _tried(banded_attention, [part.float() for part in parts], batch)
    found = _tried(_own_attention, [part.to(dtype) for part in parts], batch)
    return all(
        torch.allclose(one, other.float(), rtol=tolerance, atol=tolerance)
        for one, other in zip(wanted, found, strict=True)
    )


def _tried(attend: Callable[..., Tensor], parts: list[Tensor], batch: PackedBatch) -> list[Tensor]:
    """The answer and its gradients."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        leaves = [part.clone().requires_grad_() for part in parts]
        answer = attend(*leaves, batch, window=16)
        return [answer.detach(), *torch.autograd.grad(answer.square().sum(), leaves)]


def _functions(query: Tensor) -> Attention:
    return compiled if query.dtype == torch.float32 else compiled_narrow


def _forward(
    query: Tensor, key: Tensor, value: Tensor, output: Tensor, lse: Tensor | None, call: _Call
) -> None:
    _functions(query).attend(
        as_numbers(query),
        as_numbers(key),
        as_numbers(value),
        as_numbers(output),
        None if lse is None else as_array(lse),
        *call.settings(),
    )


class _NativeAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        global_rows: Tensor,
        firsts: Tensor,
        call: _Call,
    ) -> Tensor:
        output = torch.empty_like(query, memory_format=torch.contiguous_format)
        lse = query.new_zeros(query.shape[:2], dtype=torch.float32)
        _forward(query, key, value, output, lse, call)
        output[firsts] = global_rows
        ctx.save_for_backward(query, key, value, output, lse, firsts)
        ctx.call = call
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, lse, firsts = ctx.saved_tensors
        into = (query.new_zeros(query.shape, dtype=torch.float32) for _ in range(3))
        of_query, of_key, of_value = into
        _functions(query).attend_backward(
            as_numbers(query),
            as_numbers(key),
            as_numbers(value),
            as_numbers(output),
            as_array(lse),
            as_numbers(gradient.contiguous()),
            as_array(of_query),
            as_array(of_key),
            as_array(of_value),
            *ctx.call.settings(),
        )
        found = (part.to(query.dtype) for part in (of_query, of_key, of_value))
        return (*found, gradient[firsts], None, None)
