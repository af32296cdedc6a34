"""FastLongformer: a stock Longformer's own weights, run over packed streams instead of padded batches."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import structlog
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout as drop
from torch.nn.functional import layer_norm
from transformers import LongformerForSequenceClassification, LongformerModel
from transformers.models.longformer.modeling_longformer import (
    LongformerBaseModelOutputWithPooling,
    LongformerSequenceClassifierOutput,
)

from postq.errors import BundleUnusable
from postq.learning.longformer.checkpoint import (
    check_heads,
    check_layers,
    check_weights,
    has_plain_layers,
    limits_of,
    windows_of,
)
from postq.learning.longformer.choice import AttentionName, Choice, choose_attention
from postq.learning.longformer.encoder import PackedEncoder
from postq.learning.longformer.packing import PackedBatch, pack, unpad
from postq.learning.longformer.stock import stock_hidden

if TYPE_CHECKING:
    from postq.learning.longformer.gpu.encoder import FusedEncoder

_log = structlog.get_logger()

Offsets = Tensor | Sequence[int]


def accelerate(
    model: LongformerForSequenceClassification | LongformerModel, *, attention: AttentionName = "auto"
) -> "FastLongformer":
    """Wrap a stock model so that it runs packed and fast, at equal outputs, on the device it lies on.

    The wrapper shares the model's parameters: training one trains the other, and the stock model saves
    unchanged. `attention` names a kernel; `POSTQ_ATTENTION` overrides it. The choice is logged with its
    reason. Raises BundleUnusable for a checkpoint whose parts do not fit or hold NaN, SettingsInvalid and
    DeviceUnavailable for a kernel that does not exist or cannot run here.
    """
    backbone = getattr(model, "longformer", model)
    config = backbone.config
    check_heads(config)
    windows = windows_of(config)
    check_layers(backbone.encoder, windows, config)
    check_weights(model)
    weight = next(model.parameters())
    choice = choose_attention(attention, device=weight.device, dtype=weight.dtype)
    if choice.attention != "stock" and not has_plain_layers(backbone.encoder):
        choice = Choice(attention="stock", reason="some layers are not plain linear layers")
        _log.warning("Fell back to the stock Longformer", reason=choice.reason)
    return FastLongformer(model, choice=choice, windows=windows)


class FastLongformer(nn.Module):
    """The fast form of `stock`, whose parameters it shares; see `accelerate`.

    A packed stream is `token_ids` (tokens,) with `offsets` (docs + 1,), best kept on the host.
    `global_positions` are stream positions of global tokens, by default the first token of every document.
    All methods raise BadInput for empty documents and for ids or positions beyond the checkpoint's tables.
    """

    def __init__(self, model: Any, *, choice: Choice, windows: Sequence[int]) -> None:
        super().__init__()
        self.stock = model
        self.choice = choice
        self._limits = limits_of(model.config)
        self._encoder = _encoder(self._backbone.encoder.layer, windows, choice)
        self.train(model.training)

    @property
    def _backbone(self) -> Any:
        return getattr(self.stock, "longformer", self.stock)

    @property
    def config(self) -> Any:
        """The stock model's configuration."""
        return self.stock.config

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self._backbone.embeddings.word_embeddings.weight.device  # type: ignore[no-any-return]

    def keep_packed(self) -> "FastLongformer":
        """Keep packed weights between forwards, for scoring: faster for short documents, and again the memory
        of the layers. No effect where products are plain.
        """
        self._encoder.keep_packed()
        return self

    def forget(self) -> None:
        """Drop cached copies of weights; needed only after writing to a parameter through `.data`."""
        self._encoder.forget()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        global_attention_mask: Tensor | None = None,
        *,
        offsets: Offsets | None = None,
        global_positions: Offsets | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Any:
        """Drop-in for the stock forward: padded (docs, width) batches, padded on either side, give its output
        class.

        With `offsets` it is `forward_packed`, for wrappers such as DDP that can only call `forward`. Unlike
        stock, which reads column 0 even where that is padding, the classifier always reads a document's first
        real token.
        """
        if offsets is not None:
            return self.forward_packed(
                input_ids, offsets, global_positions=global_positions, token_type_ids=token_type_ids
            )
        batch = unpad(
            input_ids,
            attention_mask,
            global_attention_mask,
            limits=self._limits,
            device=self.device,
            token_type_ids=token_type_ids,
        )
        if batch is None or self.choice.attention == "stock":
            if batch is None:
                _log.warning("Fell back to the stock Longformer", reason="the attention mask has gaps")
            return self.stock(input_ids, attention_mask, global_attention_mask, token_type_ids=token_type_ids)
        if isinstance(self.stock, LongformerForSequenceClassification):
            return LongformerSequenceClassifierOutput(logits=self._classify(self._first_states(batch)))
        return self._padded_output(batch, input_ids, attention_mask)

    def forward_packed(
        self,
        token_ids: Tensor,
        offsets: Offsets,
        *,
        global_positions: Offsets | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """(docs, labels) logits of a packed stream. Raises BundleUnusable without a classifier."""
        if not isinstance(self.stock, LongformerForSequenceClassification):
            raise BundleUnusable(
                "This Longformer has no classifier, so it gives no logits.",
                hint="Call hidden_packed or first_states_packed, or load the sequence classifier.",
            )
        batch = self._pack(token_ids, offsets, global_positions, token_type_ids)
        return self._classify(self._first_states(batch))

    def first_states_packed(
        self, token_ids: Tensor, offsets: Offsets, *, global_positions: Offsets | None = None
    ) -> Tensor:
        """(docs, hidden) last hidden state of each document's first token."""
        return self._first_states(self._pack(token_ids, offsets, global_positions, None))

    def hidden_packed(
        self, token_ids: Tensor, offsets: Offsets, *, global_positions: Offsets | None = None
    ) -> Tensor:
        """(tokens, hidden) last hidden states of every token, in stream order."""
        return self._hidden(self._pack(token_ids, offsets, global_positions, None))

    def _pack(
        self,
        token_ids: Tensor,
        offsets: Offsets,
        global_positions: Offsets | None,
        token_type_ids: Tensor | None,
    ) -> PackedBatch:
        return pack(
            token_ids,
            offsets,
            limits=self._limits,
            device=self.device,
            global_positions=global_positions,
            token_type_ids=token_type_ids,
        )

    def _classify(self, firsts: Tensor) -> Tensor:
        return self.stock.classifier(firsts[:, None, :])  # type: ignore[no-any-return]

    def _first_states(self, batch: PackedBatch) -> Tensor:
        """(docs, hidden); where every first token is global the last layer runs for those rows alone."""
        if self.choice.attention == "stock" or not batch.first_token_global:
            return self._hidden(batch).index_select(0, batch.first_index)
        return self._encoder.first_states(self._embed(batch), batch)

    def _hidden(self, batch: PackedBatch) -> Tensor:
        if self.choice.attention == "stock":
            return stock_hidden(self._backbone, batch)
        return self._encoder.hidden(self._embed(batch), batch)

    def _embed(self, batch: PackedBatch) -> Tensor:
        """(tokens, hidden) embeddings as the stock module makes them."""
        part = self._backbone.embeddings
        types = part.token_type_embeddings
        words = part.word_embeddings(batch.token_ids) + part.position_embeddings(batch.position_ids)
        kinds = types.weight[0] if batch.token_type_ids is None else types(batch.token_type_ids)
        norm = part.LayerNorm
        normed = layer_norm(words + kinds, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
        return drop(normed, part.dropout.p, part.dropout.training)

    def _padded_output(
        self, batch: PackedBatch, input_ids: Tensor, attention_mask: Tensor | None
    ) -> LongformerBaseModelOutputWithPooling:
        """(docs, width, hidden) with zeros at padding, where stock leaves values that mean nothing."""
        hidden = self._hidden(batch)
        keep = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        padded = hidden.new_zeros(*input_ids.shape, hidden.shape[-1])
        padded = padded.masked_scatter((keep != 0).to(hidden.device)[..., None], hidden)
        pooler = self._backbone.pooler
        firsts = hidden.index_select(0, batch.first_index)
        return LongformerBaseModelOutputWithPooling(
            last_hidden_state=padded, pooler_output=None if pooler is None else pooler(firsts[:, None, :])
        )


def _encoder(layers: Sequence[Any], windows: Sequence[int], choice: Choice) -> "PackedEncoder | FusedEncoder":
    """The layers in the form that the chosen kernel wants."""
    if choice.attention == "triton":
        from postq.learning.longformer.gpu.encoder import FusedEncoder  # needs Triton

        return FusedEncoder(layers, windows)
    return PackedEncoder(layers, windows, "sdpa" if choice.attention == "stock" else choice.attention)
