"""A workbench around a model so small that every number can be checked by hand."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from postq.contracts.recipes import EncoderRecipe
from postq.learning.encoder.steps.losses import build_loss
from postq.learning.encoder.steps.optimizer import build_optimizer, build_scheduler, plan_schedule
from postq.learning.encoder.steps.state import TrainingState
from postq.learning.encoder.steps.workbench import Examples, Workbench
from postq.learning.encoder.tokens.tokeniser import TokenisedText
from postq.learning.hooks import Hooks


class BagOfTokens(nn.Module):
    """The mean of token embeddings and a linear head; no dropout, so equal input gives equal output."""

    supports_gradient_checkpointing = False

    def __init__(self, *, labels: int = 2, vocabulary: int = 50) -> None:
        super().__init__()
        self.config = SimpleNamespace(model_type="bag", pad_token_id=0, num_labels=labels)
        self.tokens = nn.Embedding(vocabulary, 8)
        self.head = nn.Linear(8, labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        kept = attention_mask.unsqueeze(-1)
        mean = (self.tokens(input_ids) * kept).sum(dim=1) / kept.sum(dim=1)
        return SimpleNamespace(logits=self.head(mean))


def text_of(ids: Sequence[int]) -> TokenisedText:
    """A text of one piece with the given ids."""
    return TokenisedText(
        pieces=(np.array(ids, dtype=np.int32),),
        tokens_total=len(ids),
        tokens_seen=len(ids),
        estimated=False,
        readable=True,
    )


def build_bench(
    texts: Sequence[TokenisedText],
    *,
    hooks: Hooks | None = None,
    model: nn.Module | None = None,
    micro_tokens: int = 10_000,
    **recipe: Any,
) -> tuple[Workbench, TrainingState]:
    """A bench over `texts` whose labels follow from their first token, and a state at the start.

    With a `facet_loss` there is one facet target, which follows from it too.
    """
    torch.manual_seed(0)
    settings = EncoderRecipe.model_validate({"batch_documents": 4, "accumulation": 1, **recipe})
    facets = torch.tensor([[float(text.pieces[0][0] % 3 == 0)] for text in texts])
    facets = facets[:, : int(settings.facet_loss > 0)]
    model = model or BagOfTokens(labels=2 + facets.shape[1])
    targets = torch.tensor([[float(text.pieces[0][0] % 2), 1.0] for text in texts])
    optimizer = build_optimizer(model, settings)
    bench = Workbench(
        model=model,
        runs=model,
        optimizer=optimizer,
        scheduler=build_scheduler(optimizer, plan_schedule(len(texts), settings)),
        loss=build_loss(settings, np.array([0.5, 0.9]), device=torch.device("cpu")),
        examples=Examples(
            names=[f"doc-{i}" for i in range(len(texts))], texts=texts, targets=targets, facets=facets
        ),
        recipe=settings,
        device=torch.device("cpu"),
        pooling="max",
        hooks=hooks or Hooks(),
    )
    return bench, TrainingState(micro_tokens=micro_tokens)
