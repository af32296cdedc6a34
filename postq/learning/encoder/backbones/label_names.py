"""Label names as the backbone reads them: where the queries of label attention start."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from postq.learning.encoder.forward.calling import Batch, hidden_states
from postq.learning.encoder.forward.label_attention import LabelAttentionClassifier
from postq.learning.encoder.tokens.tokeniser import TextTokeniser, special_tokens

NAME_TOKENS = 64
"""More of a label's name than this is not read."""
AT_ONCE = 64
"""Names encoded in one batch."""


def encoded_names(
    model: LabelAttentionClassifier, tokenizer: Any, labels: Sequence[str], *, piece_tokens: int
) -> Tensor:
    """(labels, hidden) mean last hidden state of each label's name, special tokens left out.

    Draws no random numbers: the model is in eval mode meanwhile.
    """
    most = min(NAME_TOKENS, piece_tokens)
    tokeniser = TextTokeniser(tokenizer, max_tokens=most, piece_tokens=most)
    before, after = (len(part) for part in special_tokens(tokenizer))
    pieces = [text.pieces[0] for text in tokeniser.encode(list(labels))]
    rows = []
    training = model.training
    model.eval()
    with torch.no_grad():
        for start in range(0, len(pieces), AT_ONCE):
            batch = Batch(pieces=tuple(pieces[start : start + AT_ONCE]))
            for states in hidden_states(model, batch):
                content = states[before : len(states) - after]
                rows.append((content if len(content) else states).mean(dim=0))
    model.train(training)
    return torch.stack(rows)
