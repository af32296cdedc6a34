"""What a training works with: model, optimizer, loss, tokenised documents and targets."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from postq.contracts.recipes import EncoderRecipe
from postq.learning.encoder.forward.calling import Pooling
from postq.learning.encoder.ranks.agreement import ALONE, Ranks
from postq.learning.encoder.steps.losses import LossFunction
from postq.learning.encoder.tokens.tokeniser import TokenisedText
from postq.learning.hooks import Hooks

Weights = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Tokenised documents of one split and their labels."""

    names: Sequence[str]
    """Document ids, for messages."""
    texts: Sequence[TokenisedText]
    targets: Tensor
    """(docs, labels) float32, 0 or 1, on the CPU."""
    facets: Tensor
    """(docs, facet targets) the same; without columns where no facet is learned."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(docs,) tokens to run per document, over all pieces."""
        return np.array([text.length for text in self.texts], dtype=np.int64)


@dataclass(kw_only=True)
class Workbench:
    """The moving parts of one training."""

    model: nn.Module
    """Holds the weights, under the names they are saved by."""
    runs: nn.Module
    """The same weights in the form that is called."""
    optimizer: AdamW
    scheduler: LambdaLR
    loss: LossFunction
    examples: Examples
    recipe: EncoderRecipe
    device: torch.device
    pooling: Pooling
    hooks: Hooks
    ranks: Ranks = ALONE
    """The processes that train with this one."""
    best: Weights = field(default_factory=dict)
    """The best epoch's weights, on the CPU; empty before the first validation, and on all ranks but one."""

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])


def model_weights(model: nn.Module) -> Weights:
    """Parameters and stored buffers by name, tied ones once."""
    stored = model.state_dict()
    buffers = {name: value for name, value in model.named_buffers() if name in stored}
    return {**{name: value.detach() for name, value in model.named_parameters()}, **buffers}


def copy_weights(model: nn.Module) -> Weights:
    """A copy of all weights on the CPU."""
    return {name: value.to("cpu", copy=True).contiguous() for name, value in model_weights(model).items()}


def restore_weights(model: nn.Module, weights: Weights) -> None:
    """Write `weights` into the model, in place."""
    with torch.no_grad():
        for name, value in model_weights(model).items():
            value.copy_(weights[name])
