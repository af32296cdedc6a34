"""The stock forward over a packed stream: pad, call transformers, take the padding out again."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from postq.learning.longformer.packing import PackedBatch


def stock_hidden(backbone: Any, batch: PackedBatch) -> Tensor:
    """(tokens, hidden) last hidden states of a packed stream by the unchanged LongformerModel."""
    lengths = [stop - start for start, stop in batch.spans]
    padding = backbone.config.pad_token_id
    mask = pad_sequence([torch.ones(length, dtype=torch.long) for length in lengths], batch_first=True)
    mask = mask.to(batch.device)
    marks = torch.zeros(batch.tokens, dtype=torch.long, device=batch.device)
    marks[batch.global_index] = 1
    types = batch.token_type_ids
    output = backbone(
        input_ids=_padded(batch.token_ids, lengths, padding),
        attention_mask=mask,
        global_attention_mask=_padded(marks, lengths, 0),
        position_ids=_padded(batch.position_ids, lengths, padding),
        token_type_ids=None if types is None else _padded(types, lengths, 0),
    )
    return output.last_hidden_state[mask != 0]  # type: ignore[no-any-return]


def _padded(stream: Tensor, lengths: list[int], value: int) -> Tensor:
    return pad_sequence(list(torch.split(stream, lengths)), batch_first=True, padding_value=value)
