"""Matrix products on narrowed weights, with gradients for the parameters these were narrowed from."""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from postq.learning.longformer.gpu.gelu_kernels import gelu_backward, product_gelu
from postq.learning.longformer.gpu.recorded import call
from postq.learning.longformer.gpu.weights import Narrowed

CHUNK_ROWS = 65_536
"""Rows taken through the feed-forward layers at once where no gradient is wanted: half of a batch of the
default size, since each further piece is two kernels more for the processor to start."""
TILE = {"ROWS": 128, "COLUMNS": 256, "DEPTH": 64, "GROUP": 8}
"""How the product before the GELU is cut where Triton computes both."""
HOPPER = 9
"""Major compute capability."""
ROWS, COLUMNS, STRIPES, WARPS = 4, 1_024, 352, 4
"""How the backward pass of the GELU is cut, and the warps it is compiled for."""


def project(states: Tensor, weights: Narrowed) -> Tensor:
    """(tokens, hidden) → (tokens, 3 · hidden): query, key and value."""
    parameters = [part for layer in weights.projections for part in (layer.weight, layer.bias)]
    found: Tensor = call(_Project, states, weights, *parameters)
    return found


def join(answered: Tensor, weights: Narrowed) -> Tensor:
    """(rows, hidden) output projection of the attention, without its bias."""
    found: Tensor = call(_Product, answered, weights.joined, weights.join.weight)
    return found


def feed_forward(states: Tensor, weights: Narrowed) -> Tensor:
    """(rows, hidden) → (rows, hidden): down(erf GELU(up(states))), without the bias of `down`."""
    if torch.is_grad_enabled():
        up, down = weights.up, weights.down
        found: Tensor = _FeedForward.apply(states, weights, up.weight, up.bias, down.weight)  # type: ignore[no-untyped-call]
        return found
    update = torch.empty_like(states)
    for start in range(0, len(states), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        inner = _widened(states[rows], weights)
        torch.mm(inner, weights.narrowed.T, out=update[rows])
    return update


def _widened(states: Tensor, weights: Narrowed) -> Tensor:
    """(rows, hidden) → (rows, inner): GELU(up(states))."""
    if fuses(states, inner=len(weights.widened)):
        return fused_gelu(states, weights.widened, weights.widened_bias)
    return torch.ops.aten.gelu_(torch.addmm(weights.widened_bias, states, weights.widened.T))  # type: ignore[no-any-return]


def fuses(states: Tensor, *, inner: int) -> bool:
    """True on the cards that `fused_gelu` was cut for and measured on, Hopper's, in half precision; their
    copy engine takes rows of whole 16 bytes.
    """
    half = states.dtype in (torch.float16, torch.bfloat16)
    whole = states.shape[1] % 8 == 0 and inner % 8 == 0
    return half and whole and states.device.type == "cuda" and _capability(states.device)[0] == HOPPER


@cache
def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)


@cache
def _multiprocessors(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count) if device.type == "cuda" else 4


def fused_gelu(states: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(rows, inner) GELU of states (rows, hidden) · weightᵀ (inner, hidden) + bias, in one kernel."""
    count, hidden = states.shape
    widened = states.new_empty(count, len(weight))
    rows, columns, depth = TILE["ROWS"], TILE["COLUMNS"], TILE["DEPTH"]
    programs = min(_multiprocessors(states.device), -(-count // rows) * -(-len(weight) // columns))
    product_gelu[(programs,)](
        TensorDescriptor.from_tensor(states, [rows, depth]),
        TensorDescriptor.from_tensor(weight, [columns, depth]),
        bias,
        TensorDescriptor.from_tensor(widened, [rows, columns // 2]),
        count, hidden, len(weight), programs, **TILE, num_warps=8, num_stages=3,
    )  # fmt: skip
    return widened


def widen(states: Tensor, weights: Narrowed) -> Tensor:
    """(rows, hidden) → (rows, inner), bias and all, for another activation than the erf GELU."""
    widened: Tensor = call(_Product, states, weights.widened, weights.up.weight)
    return widened + weights.up.bias.to(states.dtype)


def narrow(inner: Tensor, weights: Narrowed) -> Tensor:
    """(rows, inner) → (rows, hidden), without the bias."""
    found: Tensor = call(_Product, inner, weights.narrowed, weights.down.weight)
    return found


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weights: Narrowed, *parameters: Tensor) -> Tensor:
        ctx.save_for_backward(states)
        ctx.stacked, ctx.dtype = weights.stacked, parameters[0].dtype
        return torch.addmm(weights.stacked_bias, states, weights.stacked.T)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (states,) = ctx.saved_tensors
        of_weights = _weight_gradient(gradient, states, ctx.dtype).chunk(3)
        of_biases = gradient.sum(0, dtype=torch.float32).to(ctx.dtype).chunk(3)
        parts = [part for pair in zip(of_weights, of_biases, strict=True) for part in pair]
        return gradient @ ctx.stacked, None, *parts


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, narrowed: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(states)
        ctx.narrowed, ctx.dtype = narrowed, weight.dtype
        return states @ narrowed.T

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (states,) = ctx.saved_tensors
        return gradient @ ctx.narrowed, None, _weight_gradient(gradient, states, ctx.dtype)


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weights: Narrowed, up: Tensor, up_bias: Tensor, down: Tensor
    ) -> Tensor:
        inner = torch.addmm(weights.widened_bias, states, weights.widened.T)
        ctx.save_for_backward(states, inner)
        ctx.widened, ctx.narrowed, ctx.dtype = weights.widened, weights.narrowed, up.dtype
        return torch.nn.functional.gelu(inner) @ weights.narrowed.T

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        states, inner = ctx.saved_tensors
        count, width = inner.shape
        of_inner, activated = gradient @ ctx.narrowed, torch.empty_like(inner)
        stripes = min(STRIPES, -(-count // ROWS))
        of_bias = inner.new_empty(stripes, width, dtype=torch.float32)
        gelu_backward[(stripes, -(-width // COLUMNS))](
            inner, of_inner, of_inner, activated, of_bias, count, stripes,
            WIDTH=width, ROWS=ROWS, COLUMNS=COLUMNS, num_warps=WARPS,
        )  # fmt: skip
        of_down = _weight_gradient(gradient, activated, ctx.dtype)
        of_up = _weight_gradient(of_inner, states, ctx.dtype)
        return of_inner @ ctx.widened, None, of_up, of_bias.sum(0).to(ctx.dtype), of_down


def _weight_gradient(gradient: Tensor, states: Tensor, dtype: torch.dtype) -> Tensor:
    """gradientᵀ · states in the parameters' format: summed in float32, and kept so if they are float32."""
    if dtype == gradient.dtype:
        return gradient.T @ states
    if gradient.device.type != "cuda":
        return (gradient.T @ states).to(dtype)
    return torch.mm(gradient.T, states, out_dtype=dtype)
