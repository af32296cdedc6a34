"""Label attention: every label weighs the tokens of a document by a query of its own.

z_c = β_c · Σ_t α_ct h_t + b_c with α_ct = softmax_t(u_c · tanh(W h_t)) over the real tokens of a document
(Mullenbach et al. 2018, CAML; Vu et al. 2020, LAAT). Hidden states are normed first. The sum is taken as
Σ_t α_ct (β_c · h_t), so no vector per label and document is ever held: memory is (tokens, labels). Scores are
softmaxed in float32, where half precision overflows.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import linear

from postq.errors import BundleUnusable
from postq.learning.encoder.forward.weighted_sums import weighted_sums
from postq.learning.longformer import FastLongformer, accelerate

HEAD_FILE = "label_attention.safetensors"
"""Beside the backbone's `model.safetensors`, which transformers reads without knowing of a head."""


class LabelAttention(nn.Module):
    """The head: hidden states in, one logit per label out."""

    def __init__(self, *, hidden: int, labels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.project = nn.Linear(hidden, hidden, bias=False)
        """W."""
        self.queries = nn.Linear(hidden, labels, bias=False)
        """u, one row per label."""
        self.output = nn.Linear(hidden, labels)
        """β and b. Last, and the only one with a bias: where the prior goes."""
        nn.init.orthogonal_(self.project.weight)
        nn.init.normal_(self.queries.weight, std=1.0 / math.sqrt(hidden))
        nn.init.normal_(self.output.weight, std=0.02)
        nn.init.zeros_(self.output.bias)

    def forward(self, stream: Tensor, bounds: Sequence[int]) -> Tensor:
        """(docs, labels) float32 logits of packed hidden states (tokens, hidden); `bounds` (docs + 1,)."""
        scores, values = self._scores_and_values(stream)
        return weighted_sums(scores, values, bounds) + self.output.bias.float()

    def padded(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(docs, labels) float32 logits of (docs, width, hidden); `mask` (docs, width) is 0 at padding."""
        scores, values = self._scores_and_values(hidden)
        scores = scores.masked_fill((mask == 0)[..., None], torch.finfo(scores.dtype).min)
        weights = torch.softmax(scores, dim=1)
        summed: Tensor = (weights * values).sum(dim=1)
        return summed + self.output.bias.float()

    def _scores_and_values(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """(…, labels) attention scores and contributions to the logit of every token, in float32 at least."""
        normed = self.norm(states)
        scores = self.queries(torch.tanh(self.project(normed)))
        values = linear(normed, self.output.weight)
        wide = torch.promote_types(self.output.bias.dtype, torch.float32)
        return scores.to(wide), values.to(wide)

    def look_for(self, names: Tensor) -> None:
        """Start each label's query where the encoded name (labels, hidden) lies, of length about 1."""
        with torch.no_grad():
            keys = torch.tanh(self.project(self.norm(names)))
            self.queries.weight.copy_(keys / math.sqrt(keys.shape[1]))


class LabelAttentionClassifier(nn.Module):
    """A backbone without its own classifier, and a label attention head over its last hidden states."""

    def __init__(self, backbone: Any, *, labels: int) -> None:
        super().__init__()
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler = None  # nobody reads it, and weights without gradients only cost
        self.backbone = backbone
        self.head = LabelAttention(hidden=backbone.config.hidden_size, labels=labels)

    @property
    def config(self) -> Any:
        """The backbone's."""
        return self.backbone.config

    @property
    def supports_gradient_checkpointing(self) -> bool:
        """As the backbone says."""
        return bool(self.backbone.supports_gradient_checkpointing)

    def gradient_checkpointing_enable(self) -> None:
        """Recompute the backbone's activations in the backward pass; the head's are few."""
        newer = getattr(self.backbone, "activation_checkpointing_enable", None)
        (newer or self.backbone.gradient_checkpointing_enable)()

    def get_input_embeddings(self) -> Any:
        """The backbone's."""
        return self.backbone.get_input_embeddings()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **more: Tensor) -> Any:
        """Logits of a padded batch, (docs, width) ids and mask."""
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask, **more).last_hidden_state
        return SimpleNamespace(logits=self.head.padded(hidden, attention_mask))

    def save_pretrained(self, folder: Path) -> None:
        """Write the backbone as transformers does, and the head beside it."""
        self.backbone.save_pretrained(folder)
        weights = {name: value.detach().cpu().contiguous() for name, value in self.head.state_dict().items()}
        save_file(weights, Path(folder) / HEAD_FILE)

    def load_head(self, folder: Path) -> None:
        """Read what `save_pretrained` wrote beside the backbone; raises BundleUnusable."""
        try:
            self.head.load_state_dict(load_file(folder / HEAD_FILE))
        except (OSError, RuntimeError, SafetensorError) as exc:
            raise BundleUnusable(
                f"{HEAD_FILE} in {folder} is missing or does not fit the model.",
                hint="Use a bundle folder as a training wrote it.",
            ) from exc


class PackedLabelAttention(nn.Module):
    """The form of a Longformer with label attention that is called: packed streams, all last hidden states.

    The head reads every token, so the last layer runs for all of them and not for the first ones alone.
    """

    def __init__(self, model: LabelAttentionClassifier) -> None:
        super().__init__()
        self.fast: FastLongformer = accelerate(model.backbone)
        self.head = model.head
        self.train(model.training)

    @property
    def config(self) -> Any:
        """The backbone's."""
        return self.fast.config

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.fast.device

    def keep_packed(self) -> "PackedLabelAttention":
        """Keep packed weights between forwards, as the backbone's fast form does."""
        self.fast.keep_packed()
        return self

    def forward_packed(self, token_ids: Tensor, offsets: Sequence[int]) -> Tensor:
        """(docs, labels) logits of a packed stream (tokens,) with offsets (docs + 1,)."""
        return self.head(self.fast.hidden_packed(token_ids, offsets), offsets)  # type: ignore[no-any-return]
