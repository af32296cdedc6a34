"""Sliding-window attention on the CPU by postq's own compiled kernel, with exact gradients.

Other machines, number formats and head widths go through `banded.py`, at equal outputs but for rounding. Each
document is summed in an order that depends on its length and the window alone, whatever shares its stream and
however many threads there are.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from postq.learning.longformer.banded import answer_space, banded_attention
from postq.learning.longformer.compiled import as_array, compiled, float32_on_cpu, takes, why_not_compiled
from postq.learning.longformer.packing import PackedBatch, StreamLimits, pack

WIDTH_MULTIPLE = 16
MOST_WIDTH = 128
SERVED = f"it serves float32 and head widths in steps of {WIDTH_MULTIPLE} up to {MOST_WIDTH}"


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
    """True where the kernel takes tensors like this one (tokens, heads, width)."""
    width = query.shape[-1]
    return takes(query) and 0 < width <= MOST_WIDTH and width % WIDTH_MULTIPLE == 0


@cache
def why_no_native() -> str | None:
    """Why this machine does not run the kernel, or None if it does."""
    why_not = why_not_compiled()
    if why_not is None and not _agrees():
        return "the compiled kernel disagrees with the flash kernel on this machine"
    return why_not


@float32_on_cpu()
def _agrees() -> bool:
    """Compare answers and gradients with `banded_attention` on a small random stream."""
    own = torch.Generator().manual_seed(0)
    limits = StreamLimits(vocabulary=10, table=100, padding_id=1)
    batch = pack(torch.full((130,), 5), [0, 41, 130], limits=limits, device=torch.device("cpu"))
    shapes = [*[(130, 2, 32)] * 3, (2, 2, 32)]
    parts = [torch.randn(*shape, generator=own, dtype=torch.float32) for shape in shapes]
    found = [_tried(attend, parts, batch) for attend in (banded_attention, native_attention)]
    return all(torch.allclose(one, other, rtol=1e-4, atol=1e-4) for one, other in zip(*found, strict=True))


def _tried(attend: Callable[..., Tensor], parts: list[Tensor], batch: PackedBatch) -> list[Tensor]:
    """The answer and its gradients."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        leaves = [part.clone().requires_grad_() for part in parts]
        answer = attend(*leaves, batch, window=16)
        return [answer.detach(), *torch.autograd.grad(answer.square().sum(), leaves)]


def _forward(
    query: Tensor, key: Tensor, value: Tensor, output: Tensor, lse: Tensor | None, call: _Call
) -> None:
    sums = None if lse is None else as_array(lse)
    compiled.attend(as_array(query), as_array(key), as_array(value), as_array(output), sums, *call.settings())


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
        lse = query.new_zeros(query.shape[:2])
        _forward(query, key, value, output, lse, call)
        output[firsts] = global_rows
        ctx.save_for_backward(query, key, value, output, lse, firsts)
        ctx.call = call
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, output, lse, firsts = ctx.saved_tensors
        into = tuple(torch.zeros_like(t, memory_format=torch.contiguous_format) for t in (query, key, value))
        of_query, of_key, of_value = into
        compiled.attend_backward(
            as_array(query),
            as_array(key),
            as_array(value),
            as_array(output),
            as_array(lse),
            as_array(gradient.contiguous()),
            as_array(of_query),
            as_array(of_key),
            as_array(of_value),
            *ctx.call.settings(),
        )
        return (*into, gradient[firsts], None, None)
