"""The weights of the layers in the number format of the products, so that nothing is narrowed twice."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Narrowed:
    """A layer's product weights: query, key and value stacked, and the three that follow the attention.

    Filled by `NarrowedLayers.renew`, and unset until then. Those that are not stacked are the parameters
    themselves where these have the format already.
    """

    def __init__(self, layer: Any) -> None:
        inner = layer.attention.self
        self.projections: tuple[nn.Linear, ...] = (inner.query, inner.key, inner.value)
        self.join: nn.Linear = layer.attention.output.dense
        self.up: nn.Linear = layer.intermediate.dense
        self.down: nn.Linear = layer.output.dense
        self.stacked: Tensor
        """(3 · hidden, hidden)"""
        self.stacked_bias: Tensor
        self.joined: Tensor
        self.widened: Tensor
        self.widened_bias: Tensor
        self.narrowed: Tensor

    def parameters(self) -> list[Tensor]:
        """What is narrowed, as it is now."""
        weights = [part for layer in self.projections for part in (layer.weight, layer.bias)]
        return [*weights, *(weight for _, weight in self._singles())]

    def places(self, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
        """Make room for copies in `dtype`; (place, parameter) of each copy to make."""
        found: list[tuple[Tensor, Tensor]] = []
        for name, part in (("stacked", "weight"), ("stacked_bias", "bias")):
            parts = [getattr(layer, part) for layer in self.projections]
            room = parts[0].new_empty(sum(len(one) for one in parts), *parts[0].shape[1:], dtype=dtype)
            setattr(self, name, room)
            found += zip(room.split([len(one) for one in parts]), parts, strict=True)
        for name, weight in self._singles():
            same = weight.dtype == dtype
            place = weight.detach() if same else torch.empty_like(weight, dtype=dtype, requires_grad=False)
            setattr(self, name, place)
            found += [] if same else [(place, weight)]
        return found

    def _singles(self) -> list[tuple[str, Tensor]]:
        return [
            ("joined", self.join.weight),
            ("widened", self.up.weight),
            ("widened_bias", self.up.bias),
            ("narrowed", self.down.weight),
        ]


class NarrowedLayers:
    """The same of all layers, renewed at once before every forward, or, where weights stay as they are, once
    and after each change in place.

    In training nothing can tell that a weight has not changed: fused optimizers move no version counter.
    """

    def __init__(self, layers: Sequence[Narrowed]) -> None:
        self._layers = layers
        self._places: list[Tensor] = []
        self._sources: list[Tensor] = []
        self._made_for: tuple[object, ...] = ()
        self._versions: tuple[int, ...] = ()
        self.kept = False
        """True where the weights will not change any more."""

    def forget(self) -> None:
        """Renew them at the next forward in any case."""
        self._made_for = ()

    def renew(self, dtype: torch.dtype) -> None:
        """Copy every parameter to its place in `dtype`."""
        parameters = [part for layer in self._layers for part in layer.parameters()]
        wanted = (dtype, *(part.data_ptr() for part in parameters))
        versions = tuple(part._version for part in parameters) if self.kept else ()
        if self.kept and (wanted, versions) == (self._made_for, self._versions):
            return
        with torch.inference_mode(mode=False), torch.no_grad():
            if wanted != self._made_for:
                pairs = [pair for layer in self._layers for pair in layer.places(dtype)]
                self._places = [place for place, _ in pairs]
                self._sources = [weight.detach() for _, weight in pairs]
            torch._foreach_copy_(self._places, self._sources)
        self._made_for, self._versions = wanted, versions
