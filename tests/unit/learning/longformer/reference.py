"""What fast answers are compared with: stock models, one document at a time, and a slow attention."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LongformerConfig, LongformerForSequenceClassification, LongformerModel

from postq.learning.longformer.packing import PackedBatch, StreamLimits, pack

CPU = torch.device("cpu")
LIMITS = StreamLimits(vocabulary=100, table=10_000, padding_id=1)


def configuration(
    *,
    windows: Sequence[int] = (8, 16),
    heads: int = 2,
    width: int = 4,
    table: int = 600,
    activation: str = "gelu",
    dropout: float = 0.0,
) -> LongformerConfig:
    """A small Longformer with one layer per window."""
    return LongformerConfig(
        vocab_size=100,
        hidden_size=heads * width,
        num_hidden_layers=len(windows),
        num_attention_heads=heads,
        intermediate_size=3 * heads * width,
        hidden_act=activation,
        attention_window=list(windows),
        max_position_embeddings=table,
        attention_probs_dropout_prob=dropout,
        hidden_dropout_prob=dropout,
        type_vocab_size=2,
        num_labels=3,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )


def classifier(
    config: LongformerConfig | None = None, *, sharpness: float = 1.0
) -> LongformerForSequenceClassification:
    """A stock classifier in eval mode; `sharpness` scales queries and keys until softmax picks few tokens."""
    return _spread(LongformerForSequenceClassification(config or configuration()), sharpness)


def backbone(
    config: LongformerConfig | None = None, *, sharpness: float = 1.0, pooler: bool = False
) -> LongformerModel:
    """A stock LongformerModel in eval mode."""
    return _spread(LongformerModel(config or configuration(), add_pooling_layer=pooler), sharpness)


def _spread(model, sharpness: float):
    """Make every weight matter: fresh biases are zero, fresh matrices almost."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.add_(torch.randn_like(weight) * 0.2)
            if ".query" in name or ".key" in name:
                weight.mul_(sharpness)
    return model.eval()


def documents(lengths: Sequence[int]) -> list[Tensor]:
    """Random documents of these lengths, without special tokens."""
    return [torch.randint(3, 100, (length,)) for length in lengths]


def offsets(lengths: Sequence[int]) -> list[int]:
    """[0, l0, l0 + l1, …]."""
    bounds = [0]
    for length in lengths:
        bounds.append(bounds[-1] + length)
    return bounds


def stream(
    lengths: Sequence[int],
    globals_of: Sequence[Sequence[int]] | None = None,
    *,
    device: torch.device = CPU,
) -> PackedBatch:
    """A packed stream; `globals_of` are positions within each document, by default the first."""
    bounds = offsets(lengths)
    marks = None
    if globals_of is not None:
        marks = [start + mark for start, marks in zip(bounds, globals_of, strict=False) for mark in marks]
    return pack(
        torch.cat(documents(lengths)),
        bounds,
        limits=LIMITS,
        device=device,
        global_positions=marks,
    )


def alone(model, docs: Sequence[Tensor]) -> Tensor:
    """(docs, labels) stock logits, each document on its own and unpadded."""
    return torch.cat([model(doc[None]).logits for doc in docs])


def hidden_alone(model: LongformerModel, doc: Tensor, marks: Sequence[int]) -> Tensor:
    """(tokens, hidden) stock states of one document with the given global tokens."""
    mask = torch.zeros(1, len(doc), dtype=torch.long)
    mask[0, list(marks)] = 1
    return model(doc[None], global_attention_mask=mask).last_hidden_state[0]


def slow_local_attention(
    query: Tensor, key: Tensor, value: Tensor, batch: PackedBatch, window: int
) -> Tensor:
    """(tokens, heads, width): softmax over every pair, masked to what Longformer lets meet."""
    near, marked, document = [], torch.zeros(batch.tokens, dtype=torch.bool), []
    for number, (start, stop) in enumerate(batch.spans):
        document += [number] * (stop - start)
    owner = torch.tensor(document)
    marked[list(batch.global_positions)] = True
    index = torch.arange(batch.tokens)
    near = (index[:, None] - index[None, :]).abs() <= window // 2
    allowed = (owner[:, None] == owner[None, :]) & (near | marked[None, :])
    scores = torch.einsum("qhd,khd->hqk", query, key) / query.shape[-1] ** 0.5
    shares = scores.masked_fill(~allowed, float("-inf")).softmax(-1).nan_to_num(0.0)
    return torch.einsum("hqk,khd->qhd", shares, value)


def gradients(model, answer: Tensor, weights: Tensor) -> dict[str, Tensor | None]:
    """The gradient of each parameter, or None, of a weighted sum of `answer`."""
    model.zero_grad()
    (answer * weights).sum().backward()
    return {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


def assert_same_gradients(found, stock):
    """Each tensor within 1e-4 of the norm of the whole gradient, and the same tensors have one."""
    total = torch.stack([g.norm() for g in stock.values() if g is not None]).norm()
    assert {n for n, g in found.items() if g is not None} == {n for n, g in stock.items() if g is not None}
    for name, gradient in stock.items():
        if gradient is not None:
            assert (found[name] - gradient).norm() <= 1e-4 * total, name
