"""All encoder layers of a Longformer over a packed stream, by torch or the compiled functions."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from postq.learning.longformer.attention import Kernel, LocalAttention
from postq.learning.longformer.layer import PackedLayer
from postq.learning.longformer.packing import PackedBatch


class PackedEncoder:
    """The stock layers, run packed; holds no parameter of its own."""

    def __init__(self, layers: Sequence[Any], windows: Sequence[int], kernel: Kernel) -> None:
        attend = LocalAttention(kernel)
        self._layers = [
            PackedLayer(layer, window=window, attend=attend)
            for layer, window in zip(layers, windows, strict=True)
        ]

    def keep_packed(self) -> None:
        """Keep packed weights from one inference to the next."""
        for layer in self._layers:
            layer.keep_packed()

    def forget(self) -> None:
        """Drop cached copies of weights."""
        for layer in self._layers:
            layer.forget()

    def hidden(self, embedded: Tensor, batch: PackedBatch) -> Tensor:
        """(tokens, hidden) last hidden states; may overwrite `embedded`."""
        return self._run(embedded, batch, self._layers)

    def first_states(self, embedded: Tensor, batch: PackedBatch) -> Tensor:
        """(docs, hidden) last states of global first tokens; the last layer runs for them alone."""
        states = self._run(embedded, batch, self._layers[:-1])
        return self._layers[-1].first_rows(states, batch)

    def _run(self, states: Tensor, batch: PackedBatch, layers: Sequence[PackedLayer]) -> Tensor:
        training = bool(layers) and layers[0].stock.training
        for layer in layers:
            if not torch.is_grad_enabled() and not training:
                states = layer.infer(states, batch)
            elif training and layer.stock.gradient_checkpointing:
                states = checkpoint(layer.train, states, batch, use_reentrant=False)
            else:
                states = layer.train(states, batch)
        return states
