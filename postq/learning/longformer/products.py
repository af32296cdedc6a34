"""Matrix products of the layers on a CPU: MKL's, or oneDNN's on packed weights, in short sums.

torch multiplies float32 through MKL, which keeps off AVX-512 on AMD processors. oneDNN, which torch carries
too, uses it: with packed weights it is a tenth faster than MKL on Zen 4 and more than twice as fast on Zen 5.
It adds up long sums in one run where MKL takes runs of about 192, so its rounding error is 1.5 times MKL's at
768 summands and 2.2 times at 3,072, and a sharp softmax multiplies it. So each product is cut into pieces of
at most 192 summands that are summed apart: the error of MKL, or less, for a tenth of the gain.
The weights are packed anew for each layer and forward: cheap against a thousand tokens, and nothing can go
stale. Where weights do not change, in bulk scoring, they are kept (`PackedWeights`).

The choice is by processor and size, never by timing: the same machine always rounds the same way.
"""

import os
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from postq.errors import SettingsInvalid

LEAST_ROWS = 512
"""Fewer rows do not repay packing the weights each time."""
LEAST_ROWS_KEPT = 16
"""The same where packed weights are kept."""
MOST_SUMMANDS = 192
"""Summands in one piece of a product: as many as MKL adds up in one run, to judge by its rounding error."""
PIECE_MULTIPLE = 16
"""Pieces end where a vector register does."""
PACKED_ROWS = 256
"""Rows multiplied at once: the four times wider activations of so many stay in the cache between pieces."""
Product = Callable[[Tensor], Tensor]
Pieces = list[tuple[slice, Tensor]]
"""(columns, packed weight) of each piece."""


class PackedWeights:
    """Packed weights kept from one forward to the next, for scoring: as much memory as the layers again.

    They are packed anew when a weight was changed in place (`_version`) or its storage replaced.
    """

    def __init__(self) -> None:
        self._kept: dict[int, tuple[tuple[int, int], Pieces]] = {}

    def pieces(self, weight: Tensor) -> Pieces:
        """The packed pieces of a (out, in) weight."""
        seen = (weight.data_ptr(), weight._version)
        known = self._kept.get(id(weight))
        if known is None or known[0] != seen:
            known = self._kept[id(weight)] = (seen, pack_pieces(weight.detach()))
        return known[1]

    def forget(self) -> None:
        """Drop them all."""
        self._kept.clear()


def product(
    layer: nn.Linear, *, rows: int, then_gelu: bool = False, kept: PackedWeights | None = None
) -> Product:
    """How to apply `layer`, and the erf GELU after it if asked, to `rows` rows. Inference only."""
    if not packs(layer.weight, rows=rows, kept=kept is not None):
        return (lambda states: _gelu_in_place(layer(states))) if then_gelu else layer
    pieces = pack_pieces(layer.weight.detach()) if kept is None else kept.pieces(layer.weight)
    apply = packed_product(pieces, layer.bias)
    return (lambda states: _gelu_in_place(apply(states))) if then_gelu else apply


def pack_pieces(weight: Tensor, *, summands: int = MOST_SUMMANDS) -> Pieces:
    """A (out, in) weight packed in pieces of at most `summands`."""
    return [
        (columns, torch.ops.mkldnn._reorder_linear_weight(weight[:, columns].contiguous(), PACKED_ROWS))
        for columns in piece_columns(weight.shape[1], summands)
    ]


def packed_product(pieces: Pieces, bias: Tensor | None) -> Product:
    """How to apply a packed weight and a bias. No gradients."""

    def apply(states: Tensor) -> Tensor:
        (columns, part), *more = pieces
        applied = unpacked_product(states[:, columns], part, bias)
        for columns, part in more:
            applied += unpacked_product(states[:, columns], part)
        return applied

    return apply


def unpacked_product(states: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """oneDNN's states · weightᵀ + bias in one run, whichever way the weight lies. No gradients."""
    applied: Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")
    return applied


def piece_columns(summands: int, most: int = MOST_SUMMANDS) -> list[slice]:
    """Pieces of about equal size, none longer than `most`."""
    count = -(-summands // most)
    size = -(-summands // count)
    step = -(-size // PIECE_MULTIPLE) * PIECE_MULTIPLE
    return [slice(start, min(start + step, summands)) for start in range(0, summands, step)]


def _gelu_in_place(states: Tensor) -> Tensor:
    applied: Tensor = torch.ops.aten.gelu_(states)
    return applied


def packs(weight: Tensor, *, rows: int, kept: bool = False) -> bool:
    """True when a layer of this weight is to run through oneDNN on a stream of this size."""
    enough = rows >= (LEAST_ROWS_KEPT if kept else LEAST_ROWS)
    plain = torch.is_autocast_enabled("cpu")
    return enough and not plain and packed_on(weight.device, weight.dtype)


def packed_on(device: torch.device, dtype: torch.dtype) -> bool:
    """True when layers of this dtype run through oneDNN on this machine, given rows enough.

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
        found = [
            packed_product(pack_pieces(weight), bias)(states),
            unpacked_product(states, weight.T.contiguous().T, bias),
        ]
    except (AttributeError, RuntimeError, TypeError):
        return False
    return all(torch.allclose(one, linear(states, weight, bias), atol=1e-5) for one in found)
