"""Losses agree with their published formulas, computed slowly."""

import math

import numpy as np
import pytest
import torch

from postq.contracts.recipes import EncoderRecipe
from postq.learning.encoder.steps.losses import build_loss, constant_loss, positive_weight, prior_logit

CPU = torch.device("cpu")
SHARE = np.array([0.5, 0.01, 0.0])
LOGITS = torch.tensor([[0.3, -2.0, 1.0], [-1.5, 4.0, -6.0]])
TARGETS = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def by_hand(name: str, x: float, y: float, *, weight: float) -> float:
    p = sigmoid(x)
    if name == "bce":
        return -math.log(p if y else 1 - p)
    if name == "bce_pos_weight":
        return -weight * math.log(p) if y else -math.log(1 - p)
    if name == "focal":
        true = p if y else 1 - p
        return -((1 - true) ** 2) * math.log(true)
    shifted = max(p - 0.05, 0.0)
    return -(1 - p) * math.log(p) if y else -(shifted**4) * math.log(1 - shifted)


@pytest.mark.parametrize("name", ["bce", "bce_pos_weight", "focal", "asl"])
def test_each_loss_is_its_formula(name: str) -> None:
    recipe = EncoderRecipe.model_validate({"loss": name})
    loss = build_loss(recipe, SHARE, device=CPU)(LOGITS, TARGETS)
    weights = [1.0, 50.0, 50.0]
    for row in range(2):
        for label in range(3):
            expected = by_hand(
                name, float(LOGITS[row, label]), float(TARGETS[row, label]), weight=weights[label]
            )
            assert float(loss[row, label]) == pytest.approx(expected, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("name", ["bce", "bce_pos_weight", "focal", "asl"])
def test_losses_stay_finite_at_extreme_logits(name: str) -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss = build_loss(EncoderRecipe.model_validate({"loss": name}), SHARE, device=CPU)
    value = loss(logits, torch.tensor([[0.0, 1.0, 1.0]])).mean()
    value.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_the_positive_weight_is_clipped_on_both_sides() -> None:
    weight = positive_weight(np.array([0.9, 0.1, 0.001, 0.0]), power=1.0, cap=50.0)
    assert weight == pytest.approx([1.0, 9.0, 50.0, 50.0])
    assert positive_weight(np.array([0.1]), power=0.5, cap=50.0) == pytest.approx([3.0])


def test_the_prior_logit_of_a_label_without_positives_is_finite() -> None:
    assert np.isfinite(prior_logit(SHARE)).all()
    assert prior_logit(np.array([0.25]))[0] == pytest.approx(math.log(1 / 3))


def test_the_best_constant_under_bce_costs_the_entropy_of_the_shares() -> None:
    share = np.array([0.5, 0.1])
    loss = build_loss(EncoderRecipe(), share, device=CPU)
    entropy = np.mean([-(p * math.log(p) + (1 - p) * math.log(1 - p)) for p in share])
    assert constant_loss(loss, fitted=share, judged=share, device=CPU) == pytest.approx(entropy, rel=1e-3)


def test_no_constant_logit_beats_the_constant_loss() -> None:
    share = np.array([0.3, 0.02])
    loss = build_loss(EncoderRecipe(loss="bce_pos_weight"), share, device=CPU)
    best = constant_loss(loss, fitted=share, judged=share, device=CPU)
    truth = torch.from_numpy(np.random.default_rng(0).random((20_000, 2)) < share).float()
    for value in np.linspace(-6, 6, 25):
        tried = loss(torch.full_like(truth, float(value)), truth).mean()
        assert float(tried) > best * 0.97
