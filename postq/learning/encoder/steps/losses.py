"""Multi-label losses, one value per document and label, so that averages are taken in one place only."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from postq.contracts.recipes import EncoderRecipe

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""(logits (docs, labels), targets (docs, labels) of 0 and 1) -> (docs, labels) losses, not yet averaged."""

FOCAL_GAMMA = 2.0
ASL_GAMMA_POSITIVE = 1.0
ASL_GAMMA_NEGATIVE = 4.0
ASL_CLIP = 0.05
PRIOR_LIMIT = 1e-4
"""Shares are kept this far from 0 and 1 before their logit is taken: labels without positives stay finite."""


def build_loss(recipe: EncoderRecipe, share: NDArray[np.float64], *, device: torch.device) -> LossFunction:
    """The loss a recipe names; `share` (labels,) is each label's share of the training documents."""
    if recipe.loss == "bce_pos_weight":
        weight = positive_weight(share, power=recipe.pos_weight_power, cap=recipe.pos_weight_cap)
        return weighted_bce(torch.from_numpy(weight).float().to(device))
    return {"bce": plain_bce, "asl": asymmetric, "focal": focal}[recipe.loss]


def positive_weight(share: NDArray[np.float64], *, power: float, cap: float) -> NDArray[np.float64]:
    """`clip((negatives / positives) ** power, 1, cap)` per label; a label without positives gets the cap."""
    odds = (1.0 - share) / np.maximum(share, 1e-12)
    return np.clip(odds**power, 1.0, cap)


def prior_logit(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logit of each label's share, kept finite."""
    kept = np.clip(share, PRIOR_LIMIT, 1.0 - PRIOR_LIMIT)
    return np.log(kept) - np.log1p(-kept)


def plain_bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy."""
    return binary_cross_entropy_with_logits(logits, targets, reduction="none")


def weighted_bce(weight: Tensor) -> LossFunction:
    """Binary cross-entropy whose positive term counts `weight` (labels,) times."""

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(logits, targets, pos_weight=weight, reduction="none")

    return loss


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    """Focal loss, Lin et al. 2017, equation 4: easy examples count less by (1 - p_true) ** gamma."""
    log_true = torch.where(targets > 0.5, logsigmoid(logits), logsigmoid(-logits))
    return -((1.0 - log_true.exp()) ** FOCAL_GAMMA) * log_true


def asymmetric(logits: Tensor, targets: Tensor) -> Tensor:
    """Asymmetric loss, Ridnik et al. 2021, section 2.3: negatives shifted by a margin and focused harder."""
    positive = torch.sigmoid(logits)
    negative = (1.0 - positive + ASL_CLIP).clamp(max=1.0)
    on = (1.0 - positive) ** ASL_GAMMA_POSITIVE * logsigmoid(logits)
    off = (1.0 - negative) ** ASL_GAMMA_NEGATIVE * negative.clamp(min=1e-8).log()
    return -torch.where(targets > 0.5, on, off)


def constant_loss(
    loss: LossFunction, *, fitted: NDArray[np.float64], judged: NDArray[np.float64], device: torch.device
) -> float:
    """What the best constant answer costs: the logits that minimise `loss` at `fitted`, judged at `judged`.

    Both are shares per label, (labels,). A model that cannot beat this has learned nothing from the texts.
    """
    grid = torch.linspace(-12.0, 12.0, 241, device=device).unsqueeze(1).expand(-1, len(fitted))
    on, off = (loss(grid, torch.full_like(grid, target)).double() for target in (1.0, 0.0))
    share = torch.from_numpy(fitted).to(device)
    best = (share * on + (1.0 - share) * off).argmin(dim=0, keepdim=True)
    truth = torch.from_numpy(judged).to(device)
    cost = truth * on.gather(0, best)[0] + (1.0 - truth) * off.gather(0, best)[0]
    return float(cost.mean())
