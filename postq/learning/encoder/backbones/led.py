"""The encoder half of a Longformer-Encoder-Decoder as a Longformer: equal layers under other names.

transformers has no classifier on LED, and its decoder is dead weight for classification. The encoder's
attention, feed-forward and norms are Longformer's own, so the weights move over exactly.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import LongformerConfig, LongformerForSequenceClassification

LAYER_NAMES = {
    "attention.output.dense": "self_attn.output",
    "attention.output.LayerNorm": "self_attn_layer_norm",
    "intermediate.dense": "fc1",
    "output.dense": "fc2",
    "output.LayerNorm": "final_layer_norm",
}
PROJECTIONS = ("query", "key", "value", "query_global", "key_global", "value_global")


def longformer_config(led: Any) -> LongformerConfig:
    """A Longformer config of the same shape as LED's encoder; labels are carried over."""
    window = led.attention_window
    return LongformerConfig(
        vocab_size=led.vocab_size,
        hidden_size=led.d_model,
        num_hidden_layers=led.encoder_layers,
        num_attention_heads=led.encoder_attention_heads,
        intermediate_size=led.encoder_ffn_dim,
        hidden_act=led.activation_function,
        hidden_dropout_prob=led.dropout,
        attention_probs_dropout_prob=led.attention_dropout,
        attention_window=window if isinstance(window, int) else list(window)[: led.encoder_layers],
        max_position_embeddings=led.max_encoder_position_embeddings + led.pad_token_id + 1,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=led.pad_token_id,
        bos_token_id=led.bos_token_id,
        eos_token_id=led.eos_token_id,
        sep_token_id=led.eos_token_id,
        problem_type="multi_label_classification",
        id2label=led.id2label,
        label2id=led.label2id,
    )


def longformer_from_led(encoder: nn.Module, config: LongformerConfig) -> LongformerForSequenceClassification:
    """A Longformer classifier with the weights of LED's encoder and a fresh head."""
    model = LongformerForSequenceClassification(config)
    source = encoder.state_dict()
    target: dict[str, Tensor] = {**_embeddings(source, config)}
    for layer in range(config.num_hidden_layers):
        target |= _layer(source, layer)
    missing, unexpected = model.longformer.load_state_dict(target, strict=False)
    if missing or unexpected:
        raise ValueError(f"LED weights do not map onto Longformer: {[*missing, *unexpected]}")
    return model


def _embeddings(source: dict[str, Tensor], config: LongformerConfig) -> dict[str, Tensor]:
    positions = source["embed_positions.weight"]
    lead = torch.zeros(int(config.pad_token_id or 0) + 1, positions.shape[1])
    return {
        "embeddings.word_embeddings.weight": source["embed_tokens.weight"],
        "embeddings.position_embeddings.weight": torch.cat([lead, positions]),
        "embeddings.token_type_embeddings.weight": torch.zeros(1, positions.shape[1]),
        "embeddings.LayerNorm.weight": source["layernorm_embedding.weight"],
        "embeddings.LayerNorm.bias": source["layernorm_embedding.bias"],
    }


def _layer(source: dict[str, Tensor], layer: int) -> dict[str, Tensor]:
    mapped = {}
    for kind in ("weight", "bias"):
        for ours, theirs in LAYER_NAMES.items():
            mapped[f"encoder.layer.{layer}.{ours}.{kind}"] = source[f"layers.{layer}.{theirs}.{kind}"]
        for name in PROJECTIONS:
            ours = f"encoder.layer.{layer}.attention.self.{name}.{kind}"
            mapped[ours] = source[f"layers.{layer}.self_attn.longformer_self_attn.{name}.{kind}"]
    return mapped
