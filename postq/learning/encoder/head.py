"""The output layer of a classifier: its bias from the labels' shares."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from postq.learning.encoder.losses import prior_logit


def output_layer(model: nn.Module, *, labels: int) -> nn.Linear | None:
    """The last linear layer with one row per label."""
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    fitting = [layer for layer in linears if layer.out_features == labels]
    return fitting[-1] if fitting else None


def start_at_prior(model: nn.Module, share: NDArray[np.float64]) -> bool:
    """Set the output bias to the logit of each label's share (labels,); False where there is no such bias.

    Without it the first epochs are spent on learning that most labels are rare.
    """
    layer = output_layer(model, labels=len(share))
    if layer is None or layer.bias is None:
        return False
    with torch.no_grad():
        layer.bias.copy_(torch.from_numpy(prior_logit(share)))
    return True
