"""Matrix products of the layers in bfloat16 on a CPU, under autocast, without gradients.

A product of oneDNN, which torch carries, wants the weight narrowed and reordered. torch does both anew for
each product, which with AMX takes as long as the product of some 100 rows; for scoring it is done once.
"""

from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

from postq.learning.longformer.compiled import float32_on_cpu
from postq.learning.longformer.kept_weights import KeptWeights

Product = Callable[[Tensor], Tensor]
NARROW = torch.bfloat16
_USUAL_ROWS = 512
"""What the weights' order is chosen for; others were no slower with it."""


def narrows(weight: Tensor | None = None) -> bool:
    """True where autocast makes the CPU's products bfloat16, and those with this weight."""
    on = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == NARROW
    return on and (
        weight is None or (weight.device.type == "cpu" and weight.dtype in (torch.float32, NARROW))
    )


def narrow_product(layer: nn.Linear, *, then_gelu: bool = False, kept: KeptWeights) -> Product:
    """How to apply `layer`, and the erf GELU after it if asked: (rows, in) → (rows, out) in bfloat16."""
    weight = kept.form(_reordered, layer.weight)
    bias = layer.bias.to(NARROW)
    return lambda states: _apply(states, weight, bias, then_gelu=then_gelu)


def narrow_projections(states: Tensor, layers: Sequence[nn.Linear], *, kept: KeptWeights) -> list[Tensor]:
    """(rows, width) of each layer, of equal widths, by one product."""
    weight = kept.form(_reordered_stack, *(layer.weight for layer in layers))
    bias = torch.cat([layer.bias for layer in layers]).to(NARROW)
    return list(_apply(states, weight, bias).chunk(len(layers), dim=1))


def _reordered(weight: Tensor) -> Tensor:
    """A (out, in) weight as `_apply` wants it."""
    narrow = weight.detach().to(NARROW)
    return torch.ops.mkldnn._reorder_linear_weight(narrow, _USUAL_ROWS) if _reorders() else narrow


def _reordered_stack(*weights: Tensor) -> Tensor:
    return _reordered(torch.cat([weight.detach() for weight in weights]))


def _apply(states: Tensor, weight: Tensor, bias: Tensor, *, then_gelu: bool = False) -> Tensor:
    narrow = states.to(NARROW)
    if not _reorders():
        product = linear(narrow, weight, bias)
        return torch.ops.aten.gelu_(product) if then_gelu else product
    return _onednn(narrow, weight, bias, then_gelu=then_gelu)


def _onednn(states: Tensor, weight: Tensor, bias: Tensor, *, then_gelu: bool) -> Tensor:
    after: tuple[str, list[float], str] = ("gelu", [], "none") if then_gelu else ("none", [], "")
    product: Tensor = torch.ops.mkldnn._linear_pointwise(states, weight, bias, *after)
    return product


@cache
@float32_on_cpu()
def _reorders() -> bool:
    """Whether this torch has the functions that its own compiler calls for this, and they are right."""
    own = torch.Generator().manual_seed(0)
    sizes = (9, 64), (48, 64), (48,)
    states, weight, bias = (torch.randn(*size, generator=own, dtype=torch.float32) for size in sizes)
    wanted = gelu(linear(states, weight, bias))
    try:
        reordered = torch.ops.mkldnn._reorder_linear_weight(weight.to(NARROW), _USUAL_ROWS)
        found = _onednn(states.to(NARROW), reordered, bias.to(NARROW), then_gelu=True)
    except (AttributeError, RuntimeError, TypeError):  # not there, or with other arguments
        return False
    return torch.allclose(found.float(), wanted, rtol=0.05, atol=0.2)
