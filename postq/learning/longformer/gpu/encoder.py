"""All encoder layers of a Longformer on a CUDA GPU."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from postq.learning.longformer.gpu.layer import FusedLayer, enter, product_dtype
from postq.learning.longformer.gpu.norm import Normed
from postq.learning.longformer.gpu.weights import NarrowedLayers
from postq.learning.longformer.packing import PackedBatch


class FusedEncoder:
    """The stock layers, run fused; holds no parameter of its own.

    Triton starts kernels on the current device, wherever the tensors lie; so that is made theirs.
    """

    def __init__(self, layers: Sequence[Any], windows: Sequence[int]) -> None:
        self._layers = [
            FusedLayer(layer, window=window) for layer, window in zip(layers, windows, strict=True)
        ]
        self._weights = NarrowedLayers([layer.weights for layer in self._layers])

    def keep_packed(self) -> None:
        """The weights will not change any more: narrow them once."""
        self._weights.kept = True

    def forget(self) -> None:
        """Narrow the weights anew at the next forward."""
        self._weights.forget()

    def hidden(self, embedded: Tensor, batch: PackedBatch) -> Tensor:
        """(tokens, hidden) last hidden states."""
        with torch.cuda.device_of(embedded):  # type: ignore[no-untyped-call]
            return self._run(embedded, batch, self._layers).wide

    def first_states(self, embedded: Tensor, batch: PackedBatch) -> Tensor:
        """(docs, hidden) last states of global first tokens; the last layer runs for them alone."""
        with torch.cuda.device_of(embedded):  # type: ignore[no-untyped-call]
            states = self._run(embedded, batch, self._layers[:-1])
            return self._layers[-1].first_rows(states, batch)

    def _run(self, embedded: Tensor, batch: PackedBatch, layers: Sequence[FusedLayer]) -> Normed:
        self._weights.renew(product_dtype(embedded))
        states = enter(embedded, batch)
        for layer in layers:
            if layer.stock.training and layer.stock.gradient_checkpointing and torch.is_grad_enabled():
                states = checkpoint(layer.run, states, batch, use_reentrant=False)
            else:
                states = layer.run(states, batch)
        return states
