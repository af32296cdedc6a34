"""One encoder layer over a packed stream on a CUDA GPU: cuBLAS multiplies, Triton does what lies between."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from postq.learning.longformer.attention import LocalAttention
from postq.learning.longformer.feed_forward import is_exact_gelu
from postq.learning.longformer.global_rows import global_rows
from postq.learning.longformer.gpu.first_rows import rows_of_firsts
from postq.learning.longformer.gpu.norm import Normed, residual_norm
from postq.learning.longformer.gpu.pool import can_pool, pool_documents
from postq.learning.longformer.gpu.products import feed_forward, join, narrow, project, widen
from postq.learning.longformer.gpu.weights import Narrowed
from postq.learning.longformer.gpu.window import WIDTHS, serves, window_attention
from postq.learning.longformer.packing import PackedBatch
from postq.learning.longformer.zero_gradients import with_zero_gradients


class FusedLayer:
    """A stock LongformerLayer read as weights; holds no parameter of its own."""

    def __init__(self, layer: Any, *, window: int) -> None:
        self.stock = layer
        self.window = window
        self.weights = Narrowed(layer)
        self._inner, self._joined, self._wide = layer.attention.self, layer.attention.output, layer.output
        self.heads: int = self._inner.num_heads
        self._beyond = LocalAttention("sdpa")
        self._activation = layer.intermediate.intermediate_act_fn
        self._exact_gelu = is_exact_gelu(self._activation)

    def run(self, states: Normed, batch: PackedBatch) -> Normed:
        """(tokens, hidden) → (tokens, hidden), with gradients if they are on; drops out where stock would."""
        projected = project(states.narrow, self.weights).view(len(states.narrow), 3, self.heads, -1)
        rows = self._global_rows(states, batch) if batch.global_positions else None
        known = serves(projected.shape[-1], projected.dtype)
        if rows is not None and batch.first_token_global and known:
            answered = window_attention(projected, rows, batch, window=self.window, dropout=self._dropout)
        else:
            query, key, value = projected.unbind(1)
            answered = self._beyond(query, key, value, rows, batch, window=self.window, dropout=self._dropout)
        return self._after_attention(answered.flatten(1), states.wide, batch)

    def first_rows(self, states: Normed, batch: PackedBatch) -> Tensor:
        """(docs, hidden) output of the global first tokens alone: all that a classifier reads."""
        answered = self._global_rows(states, batch).to(states.narrow.dtype).flatten(1)
        layers = self.weights.projections
        unused = [weight for layer in layers for weight in (layer.weight, layer.bias)]
        return self._after_attention(with_zero_gradients(answered, unused), states.firsts, None).wide

    def _global_rows(self, states: Normed, batch: PackedBatch) -> Tensor:
        pools = can_pool(states.narrow, batch, heads=self.heads, dropout=self._dropout)
        if pools and not torch.is_grad_enabled() and states.narrow.shape[1] // self.heads in WIDTHS:
            return rows_of_firsts(states, self._inner, batch, heads=self.heads)
        return global_rows(
            states.wide,
            self._inner,
            batch,
            heads=self.heads,
            dropout=self._dropout,
            stream=states.narrow,
            firsts=states.firsts if batch.first_token_global else None,
            pool=partial(pool_documents, batch=batch) if pools else None,
        )

    @property
    def _dropout(self) -> float:
        return float(self._inner.dropout) if self._inner.training else 0.0

    def _after_attention(self, answered: Tensor, states: Tensor, batch: PackedBatch | None) -> Normed:
        middle = _normed(self._joined, join(answered, self.weights), states, None)
        if self._exact_gelu:
            update = feed_forward(middle.narrow, self.weights)
        else:
            update = narrow(self._activation(widen(middle.narrow, self.weights)), self.weights)
        return _normed(self._wide, update, middle.wide, batch)


def enter(states: Tensor, batch: PackedBatch) -> Normed:
    """The (tokens, hidden) embeddings as the layers want them."""
    return Normed(states, states.to(product_dtype(states)), states.index_select(0, batch.first_index))


def product_dtype(states: Tensor) -> torch.dtype:
    """What the layers multiply in: autocast's format where that is on."""
    device = states.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype


def _normed(part: Any, update: Tensor, states: Tensor, batch: PackedBatch | None) -> Normed:
    dropout = float(part.dropout.p) if part.dropout.training else 0.0
    return residual_norm(update, part.dense.bias, states, part.LayerNorm, batch, dropout=dropout)
