"""One encoder layer over a packed stream, computing what the stock layer would on each document alone."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from postq.learning.longformer.attention import LocalAttention
from postq.learning.longformer.dropped_sum import dropped_sum
from postq.learning.longformer.feed_forward import (
    chunk_rows,
    is_exact_gelu,
    wide_layers,
)
from postq.learning.longformer.global_rows import global_rows
from postq.learning.longformer.kept_weights import KeptWeights
from postq.learning.longformer.packing import PackedBatch
from postq.learning.longformer.products import product
from postq.learning.longformer.projections import project, project_stacked
from postq.learning.longformer.trained_products import trained_product
from postq.learning.longformer.zero_gradients import with_zero_gradients


class PackedLayer:
    """A stock LongformerLayer read as weights; holds no parameter of its own."""

    def __init__(self, layer: Any, *, window: int, attend: LocalAttention) -> None:
        self.stock = layer
        self.window = window
        self.heads: int = layer.attention.self.num_heads
        self._attend = attend
        self._inner = layer.attention.self
        self._activation = layer.intermediate.intermediate_act_fn
        self._exact_gelu = is_exact_gelu(self._activation)
        self._kept: KeptWeights | None = None

    def keep_packed(self) -> None:
        """Keep packed weights from one inference to the next."""
        self._kept = self._kept or KeptWeights()

    def forget(self) -> None:
        """Drop cached copies of weights."""
        if self._kept is not None:
            self._kept.forget()

    def train(self, states: Tensor, batch: PackedBatch) -> Tensor:
        """(tokens, hidden) → (tokens, hidden) with gradients; drops out where the stock layer would."""
        answered = self._attention(states, batch)
        return self._after_attention(answered, states)

    def infer(self, states: Tensor, batch: PackedBatch) -> Tensor:
        """Overwrite `states` (tokens, hidden) with the layer's output; no gradients, no dropout."""
        answered = self._attention(states, batch)
        count, wide = states.shape[0], self.stock.intermediate.dense.out_features
        step = chunk_rows(states.device.type, wide=wide)
        finish = self._finisher(count)
        for start in range(0, count, step):
            rows = slice(start, start + step)
            states[rows] = finish(answered[rows], states[rows])
        return states

    def first_rows(self, states: Tensor, batch: PackedBatch) -> Tensor:
        """(docs, hidden) output of the global first tokens alone: all that a classifier reads."""
        answered = self._global_rows(states, batch).to(states.dtype).flatten(1)
        firsts = states.index_select(0, batch.first_index)
        if torch.is_grad_enabled() or self._inner.training:
            return self._after_attention(with_zero_gradients(answered, self._local_weights()), firsts)
        return self._finisher(batch.documents)(answered, firsts)

    def _local_weights(self) -> list[Tensor]:
        layers = (self._inner.query, self._inner.key, self._inner.value)
        return [weight for layer in layers for weight in (layer.weight, layer.bias)]

    def _attention(self, states: Tensor, batch: PackedBatch) -> Tensor:
        query, key, value = self._project(states, batch)
        rows = self._global_rows(states, batch) if batch.global_positions else None
        answered = self._attend(
            query, key, value, rows, batch, window=self.window, dropout=self._attention_dropout
        )
        return answered.flatten(1)

    def _project(self, states: Tensor, batch: PackedBatch) -> tuple[Tensor, Tensor, Tensor]:
        """(tokens, heads, width) each; stacking the three weights only pays on an accelerator."""
        layers = (self._inner.query, self._inner.key, self._inner.value)
        if states.device.type != "cpu":
            stacked = project_stacked(states, layers).view(states.shape[0], 3, self.heads, -1)
            query, key, value = stacked.unbind(1)
            return query, key, value
        if torch.is_grad_enabled():
            parts = [trained_product(layer, states) for layer in layers]
        else:
            parts = project(states, layers, batch, kept=self._kept)
        query, key, value = (part.view(part.shape[0], self.heads, -1) for part in parts)
        return query, key, value

    def _global_rows(self, states: Tensor, batch: PackedBatch) -> Tensor:
        return global_rows(states, self._inner, batch, heads=self.heads, dropout=self._attention_dropout)

    @property
    def _attention_dropout(self) -> float:
        return float(self._inner.dropout) if self._inner.training else 0.0

    def _after_attention(self, answered: Tensor, states: Tensor) -> Tensor:
        joined, wide = self.stock.attention.output, self.stock.output
        middle = _residual(joined, trained_product(joined.dense, answered), states)
        inner = wide_layers(middle, self.stock.intermediate.dense, wide.dense, self._activation)
        return _residual(wide, inner, middle)

    def _finisher(self, rows: int) -> Callable[[Tensor, Tensor], Tensor]:
        """What follows the attention, (rows, hidden) answers and states to states, without gradients."""
        joined, wide = self.stock.attention.output, self.stock.output
        apply = partial(product, rows=rows, kept=self._kept)
        join, down = apply(joined.dense), apply(wide.dense)
        up = apply(self.stock.intermediate.dense, then_gelu=self._exact_gelu)
        activate = nn.Identity() if self._exact_gelu else self._activation

        def finish(answered: Tensor, states: Tensor) -> Tensor:
            middle = _normed(joined, _add(join(answered), states))
            return _normed(wide, _add(down(activate(up(middle))), middle))

        return finish


def _residual(part: Any, update: Tensor, states: Tensor) -> Tensor:
    """Dropout, residual and norm of a stock output block."""
    return _normed(part, dropped_sum(update, states, part.dropout.p if part.dropout.training else 0.0))


def _add(update: Tensor, states: Tensor) -> Tensor:
    """update + states, in place of the states where autocast made the update narrower than they are."""
    return update.add_(states) if update.dtype == states.dtype else states.add_(update)


def _normed(part: Any, states: Tensor) -> Tensor:
    norm: nn.LayerNorm = part.LayerNorm
    return layer_norm(states, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
