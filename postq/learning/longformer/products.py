"""Matrix products of the layers on a CPU: torch's own, or postq's compiled ones on packed weights.

torch multiplies float32 through MKL, which keeps off AVX-512 on AMD processors and so reaches less than half
of what a Zen 5 can do. On a Zen 3, which has AVX2 alone, it is a tenth slower than the compiled product
(`native/multiply.c`), and a third where packed weights are kept and documents short. That sums in runs of
192 terms, as MKL appears to: one long run, as oneDNN's, has 1.5 times MKL's rounding error at 768 summands
and 2.2 times at 3,072, and a sharp softmax multiplies it. How a row is summed depends on the row and the
weight alone.

Weights are packed for each layer and forward, which costs as much as 10 to 100 rows, so that nothing
can go stale. Where weights do not change, in bulk scoring, they are kept (`KeptWeights`).

The choice is by processor and size, never by timing: the same machine always rounds the same way.
"""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from postq.errors import SettingsInvalid
from postq.learning.longformer.compiled import as_array, compiled, float32_on_cpu, why_not_compiled
from postq.learning.longformer.kept_weights import KeptWeights
from postq.learning.longformer.narrow_products import narrow_product, narrows

LEAST_ROWS = {16: 64, 8: 384}
"""Fewer rows do not repay packing the weights each time, by the floats in a vector."""
LEAST_ROWS_KEPT = 16
"""The same where packed weights are kept."""
Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Packed:
    """A (out, in) weight in panels of outputs, the last one filled up with zeros."""

    panels: Tensor
    outputs: int


def product(
    layer: nn.Linear, *, rows: int, then_gelu: bool = False, kept: KeptWeights | None = None
) -> Product:
    """How to apply `layer`, and the erf GELU after it if asked, to `rows` rows. Inference only."""
    if kept is not None and narrows(layer.weight):
        return narrow_product(layer, then_gelu=then_gelu, kept=kept)
    if not packs(layer.weight, rows=rows, kept=kept is not None):
        return (lambda states: _gelu_in_place(layer(states))) if then_gelu else layer
    weight, bias = packed_weight(layer, kept), layer.bias
    if then_gelu:
        return lambda states: _gelu_in_place(multiply(states, weight, bias))
    return lambda states: multiply(states, weight, bias)


def packed_weight(layer: nn.Linear, kept: KeptWeights | None) -> Packed:
    """The layer's packed weight, from those kept if any are."""
    return pack_weight(layer.weight) if kept is None else kept.form(pack_weight, layer.weight)


def pack_weight(weight: Tensor) -> Packed:
    """Pack a (out, in) weight, either axis of which is of consecutive numbers."""
    outputs, inputs = weight.shape
    panels = weight.new_empty(-(-outputs // compiled.panel) * compiled.panel * inputs)
    compiled.pack(as_array(weight), as_array(panels), torch.get_num_threads())
    return Packed(panels, outputs)


def multiply(
    states: Tensor,
    weight: Packed,
    bias: Tensor | None = None,
    *,
    out: Tensor | None = None,
    add: bool = False,
) -> Tensor:
    """states (rows, in) · weightᵀ + bias, in `out` (rows, out) if given, or added to it. No gradients.

    Raises ValueError where neither rows nor columns of `states` are of consecutive numbers.
    """
    product = states.new_empty(states.shape[0], weight.outputs) if out is None else out
    added = None if bias is None else as_array(bias)
    threads = torch.get_num_threads()
    compiled.multiply(as_array(states), as_array(weight.panels), added, as_array(product), add, threads)
    return product


def _gelu_in_place(states: Tensor) -> Tensor:
    applied: Tensor = torch.ops.aten.gelu_(states)
    return applied


def packs(weight: Tensor, *, rows: int, kept: bool = False) -> bool:
    """True when a layer of this weight is to run through the compiled product on a stream of this size."""
    if torch.is_autocast_enabled("cpu") or not packed_on(weight.device, weight.dtype):
        return False
    return rows >= (LEAST_ROWS_KEPT if kept else LEAST_ROWS[compiled.lanes])


def packed_on(device: torch.device, dtype: torch.dtype) -> bool:
    """True when layers of this dtype run through the compiled product on this machine, given rows enough.

    Raises SettingsInvalid for an unknown `POSTQ_PRODUCTS`.
    """
    return device.type == "cpu" and dtype == torch.float32 and _wanted() and packing_works()


def _wanted() -> bool:
    """`POSTQ_PRODUCTS` (auto, plain, packed) or, when auto, what is known of this processor."""
    asked = os.environ.get("POSTQ_PRODUCTS", "auto").strip().lower()
    if asked not in ("auto", "plain", "packed"):
        raise SettingsInvalid(
            f"POSTQ_PRODUCTS is '{asked}'.",
            hint="Use auto, plain (torch's own) or packed (postq's, faster on AMD).",
        )
    return slow_in_mkl() if asked == "auto" else asked == "packed"


@cache
def slow_in_mkl() -> bool:
    """True on AMD processors, where MKL was measured to fall behind."""
    return "AMD" in _vendor()


def _vendor() -> str:
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text(encoding="utf-8").splitlines():
            if line.startswith("vendor_id"):
                return line.partition(":")[2].strip()
    return platform.processor()


@cache
def packing_works() -> bool:
    """Whether this machine has the compiled product, and it agrees with the plain one."""
    return why_not_compiled() is None and _agrees()


@float32_on_cpu()
def _agrees() -> bool:
    """Compare products with torch's, of matrices by rows and by columns; a panel is full and one is not."""
    own, sizes = torch.Generator().manual_seed(0), ((40, 200), (40, 200), (40,))
    states, weight, bias = (torch.randn(*size, generator=own, dtype=torch.float32) for size in sizes)
    wanted = linear(states, weight, bias)
    found = [multiply(way, pack_weight(of), bias) for way in _ways(states) for of in _ways(weight)]
    return all(torch.allclose(one, wanted, rtol=1e-4, atol=1e-4) for one in found)


def _ways(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The same matrix with consecutive rows and with consecutive columns."""
    return matrix, matrix.T.contiguous().T
