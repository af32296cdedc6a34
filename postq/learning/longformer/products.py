"""Which matrix product a linear layer runs through on a CPU: MKL's, or oneDNN's on packed weights.

Only without gradients; training keeps torch's own product.

torch multiplies float32 through MKL, which is slower than the chip on AMD processors with AVX-512. oneDNN,
which torch carries too, is faster there once the weights are packed, and applies the GELU on the way. It adds
up each sum in one run, MKL in several, so its rounding error is 1.45 times MKL's at 768 summands and 2.05
times at 3,072: it serves the narrow layers only, and stays within the bound on the error of the whole model.
The weights are packed anew for each layer and forward: cheap against a thousand tokens, and nothing can go
stale.

The choice is by processor and size, never by timing: the same machine always rounds the same way.
"""

import os
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from postq.errors import SettingsInvalid

LEAST_ROWS = 1_024
"""Fewer rows do not repay packing the weights."""
MOST_SUMMANDS = 1_024
"""Longer sums round too differently from stock's."""
Product = Callable[[Tensor], Tensor]


def product(layer: nn.Linear, *, rows: int, then_gelu: bool = False) -> Product:
    """How to apply `layer`, and the erf GELU after it if asked, to `rows` rows. Inference only."""
    if not packs(layer, rows=rows):
        return (lambda states: _gelu_in_place(layer(states))) if then_gelu else layer
    weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), rows)
    activation, form = ("gelu", "none") if then_gelu else ("none", "")

    def apply(states: Tensor) -> Tensor:
        applied: Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, layer.bias, activation, [], form)
        return applied

    return apply


def _gelu_in_place(states: Tensor) -> Tensor:
    applied: Tensor = torch.ops.aten.gelu_(states)
    return applied


def packs(layer: nn.Linear, *, rows: int) -> bool:
    """True when `layer` is to run through oneDNN on a stream of this size."""
    return (
        rows >= LEAST_ROWS
        and layer.in_features <= MOST_SUMMANDS
        and not torch.is_autocast_enabled("cpu")
        and packed_on(layer.weight.device, layer.weight.dtype)
    )


def packed_on(device: torch.device, dtype: torch.dtype) -> bool:
    """True when narrow layers of this dtype run through oneDNN on this machine, given rows enough.

    Raises SettingsInvalid for an unknown `POSTQ_PRODUCTS`.
    """
    return device.type == "cpu" and dtype == torch.float32 and _wanted() and packing_works()


def _wanted() -> bool:
    """`POSTQ_PRODUCTS` (auto, plain, packed) or, when auto, what is known of this processor."""
    asked = os.environ.get("POSTQ_PRODUCTS", "auto").strip().lower()
    if asked not in ("auto", "plain", "packed"):
        raise SettingsInvalid(
            f"POSTQ_PRODUCTS is '{asked}'.", hint="Use auto, plain (stock's own rounding) or packed (faster)."
        )
    return slow_in_mkl() if asked == "auto" else asked == "packed"


@cache
def slow_in_mkl() -> bool:
    """True on AMD processors with AVX-512, where MKL was measured to fall behind oneDNN by a tenth."""
    capability = torch.backends.cpu.get_cpu_capability()
    return capability == "AVX512" and "AMD" in _vendor()


def _vendor() -> str:
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text(encoding="utf-8").splitlines():
            if line.startswith("vendor_id"):
                return line.partition(":")[2].strip()
    return platform.processor()


@cache
def packing_works() -> bool:
    """Whether this torch has both functions, which are not public, and they agree with the plain product."""
    own = torch.Generator().manual_seed(0)
    states, weight, bias = (torch.randn(*size, generator=own) for size in ((40, 16), (24, 16), (24,)))
    try:
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, 64)
        found: Any = torch.ops.mkldnn._linear_pointwise(states, packed, bias, "gelu", [], "none")
    except (AttributeError, RuntimeError, TypeError):
        return False
    return bool(torch.allclose(found, gelu(linear(states, weight, bias)), atol=1e-5))
