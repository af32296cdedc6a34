"""The one place where a model is called: padding a batch, the forward pass, pooling chunks to documents."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LongformerForSequenceClassification, LongformerModel

from postq.contracts.recipes import Precision
from postq.learning.encoder.forward.compute import autocast
from postq.learning.encoder.forward.label_attention import LabelAttentionClassifier, PackedLabelAttention
from postq.learning.encoder.tokens.tokeniser import TokenIds
from postq.learning.longformer import FastLongformer, accelerate
from postq.learning.longformer.transfer import send

Pooling = Literal["max", "mean"]
CUDA_MULTIPLE = 8
"""Sequence lengths are rounded up to this on CUDA, where odd sizes miss the fast matrix kernels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Token sequences to run together; nothing is padded yet, and the packed path never pads at all."""

    pieces: tuple[TokenIds, ...]

    @property
    def tokens(self) -> int:
        """Real tokens in the batch."""
        return sum(len(piece) for piece in self.pieces)


def runnable_form(model: nn.Module) -> nn.Module:
    """The form of `model` to call: packed and fast for a Longformer, itself for any other encoder.

    The form shares the model's parameters; call it on the device where the model is to run.
    """
    if isinstance(model, LongformerForSequenceClassification):
        return accelerate(model)
    if isinstance(model, LabelAttentionClassifier) and isinstance(model.backbone, LongformerModel):
        return PackedLabelAttention(model)
    return model


def scoring_form(model: nn.Module) -> nn.Module:
    """The `runnable_form` in eval mode of a model whose weights will not change any more."""
    form = runnable_form(model).eval()
    if isinstance(form, FastLongformer | PackedLabelAttention):
        form.keep_packed()
    return form


def pads(model: nn.Module) -> bool:
    """True where `forward_logits` pads a batch to its longest piece, False where it packs the pieces."""
    fast = model.fast if isinstance(model, PackedLabelAttention) else model
    return not isinstance(fast, FastLongformer) or fast.choice.attention == "stock"


def forward_logits(model: nn.Module, batch: Batch, *, precision: Precision = "auto") -> Tensor:
    """Logits (pieces, labels) in float32 of a `runnable_form`, computed in `precision`."""
    if isinstance(model, FastLongformer | PackedLabelAttention):
        stream, offsets = _packed(batch)
        with autocast(model.device, precision):
            return model.forward_packed(stream, offsets).float()
    device = next(model.parameters()).device
    with autocast(device, precision):
        logits: Tensor = model(**_model_inputs(model, batch, device)).logits
    return logits.float()


def hidden_states(model: LabelAttentionClassifier, batch: Batch) -> list[Tensor]:
    """(tokens, hidden) last hidden states of every piece, special tokens included."""
    form = runnable_form(model)
    lengths = [len(piece) for piece in batch.pieces]
    if isinstance(form, PackedLabelAttention):
        stream, offsets = _packed(batch)
        return list(torch.split(form.fast.hidden_packed(stream, offsets), lengths))
    inputs = _model_inputs(model, batch, next(model.parameters()).device)
    padded = model.backbone(**inputs).last_hidden_state
    return [states[:length] for states, length in zip(padded, lengths, strict=True)]


def _packed(batch: Batch) -> tuple[Tensor, list[int]]:
    """The stream stays on the host, where its ids can be checked; the form sends it on."""
    stream = torch.from_numpy(np.concatenate(batch.pieces).astype(np.int64))
    return stream, np.cumsum([0, *(len(piece) for piece in batch.pieces)]).tolist()


def _model_inputs(model: nn.Module, batch: Batch, device: torch.device) -> dict[str, Tensor]:
    inputs = padded_inputs(batch, pad_id=_pad_id(model), device=device)
    if _wants_global_first_token(model):
        inputs["global_attention_mask"] = torch.zeros_like(inputs["input_ids"])
        inputs["global_attention_mask"][:, 0] = 1
    return inputs


def padded_inputs(batch: Batch, *, pad_id: int, device: torch.device) -> dict[str, Tensor]:
    """`input_ids` and `attention_mask`, (pieces, longest piece), padded on the right."""
    longest = max(len(piece) for piece in batch.pieces)
    if device.type == "cuda":
        longest = -(-longest // CUDA_MULTIPLE) * CUDA_MULTIPLE
    ids = np.full((len(batch.pieces), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(batch.pieces), longest), dtype=np.int64)
    for row, piece in enumerate(batch.pieces):
        ids[row, : len(piece)] = piece
        mask[row, : len(piece)] = 1
    return {
        "input_ids": send(torch.from_numpy(ids), device),
        "attention_mask": send(torch.from_numpy(mask), device),
    }


def _pad_id(model: nn.Module) -> int:
    config: Any = model.config
    return int(config.pad_token_id or 0)


def _wants_global_first_token(model: nn.Module) -> bool:
    config: Any = model.config
    return bool(config.model_type == "longformer")


def pool_pieces(logits: Tensor, counts: Sequence[int], *, pooling: Pooling) -> Tensor:
    """Document logits (docs, labels) from piece logits; document i has the next `counts[i]` pieces."""
    if all(count == 1 for count in counts):
        return logits
    parts = torch.split(logits, list(counts))
    if pooling == "max":
        return torch.stack([part.amax(dim=0) for part in parts])
    return torch.stack([part.mean(dim=0) for part in parts])
