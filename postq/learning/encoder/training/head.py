"""The output layer of a classifier: its bias from the labels' shares, and outputs that only train."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from postq.learning.encoder.forward.label_attention import LabelAttentionClassifier
from postq.learning.encoder.steps.losses import prior_logit


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


def keep_outputs(model: nn.Module, *, labels: tuple[str, ...], outputs: int) -> None:
    """Take the outputs after the labels' off a head of `outputs`, in place; the labels' stay bit for bit.

    The configuration names the labels again, so that plain transformers loads what is saved.
    """
    if outputs == len(labels):
        return
    for layer in [one for one in model.modules() if isinstance(one, nn.Linear)]:
        if layer.out_features == outputs and _is_of_head(model, layer):
            layer.weight = nn.Parameter(layer.weight.detach()[: len(labels)].clone())
            if layer.bias is not None:
                layer.bias = nn.Parameter(layer.bias.detach()[: len(labels)].clone())
            layer.out_features = len(labels)
    config: Any = model.config
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: at for at, label in enumerate(labels)}
    if hasattr(model, "num_labels"):
        setattr(model, "num_labels", len(labels))  # noqa: B010 (nn.Module types attributes as modules)


def _is_of_head(model: nn.Module, layer: nn.Linear) -> bool:
    """Whether the layer gives one output per label: a layer of the backbone may happen to be as wide."""
    if isinstance(model, LabelAttentionClassifier):
        return layer in (model.head.queries, model.head.output)
    return layer is output_layer(model, labels=layer.out_features)
