"""Products on narrowed weights: the GELU in the same kernel, and when that is used."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import gelu

from postq.learning.longformer.gpu import products
from postq.learning.longformer.gpu.products import fused_gelu, fuses


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("count", "hidden", "inner"), [(1, 16, 64), (300, 96, 384), (129, 200, 1_000)])
def test_the_fused_gelu_rounds_once(device, dtype, count, hidden, inner):
    states = torch.randn(count, hidden).to(device, dtype)
    weight = (torch.randn(inner, hidden) / hidden**0.5).to(device, dtype)
    bias = torch.randn(inner).to(device, dtype)
    wanted = gelu(states.double() @ weight.double().T + bias.double())
    found = fused_gelu(states, weight, bias)
    torch.testing.assert_close(found.double(), wanted, atol=2e-5, rtol=1.01 * torch.finfo(dtype).eps / 2)


def test_the_polynomial_is_the_gelu(device):
    """Through the kernel with an identity of a product; 6e-6 is promised, and float32 adds its own."""
    given = torch.linspace(-20, 20, 64 * 400).view(400, 64)
    if device.type == "cuda":
        pytest.skip("descriptors of float32 take more shared memory than there is")
    found = fused_gelu(given, torch.eye(64), torch.zeros(64))
    assert (found.double() - gelu(given.double())).abs().max() < 7e-6


def test_only_hopper_cards_in_half_precision_fuse(monkeypatch):
    half = torch.zeros(4, 64, dtype=torch.bfloat16)
    card = SimpleNamespace(dtype=half.dtype, shape=half.shape, device=torch.device("cuda"))
    monkeypatch.setattr(products, "_capability", lambda device: (9, 0))
    assert fuses(card, inner=256)
    assert not fuses(card, inner=250)
    assert not fuses(half, inner=256)
    assert not fuses(SimpleNamespace(**{**vars(card), "dtype": torch.float32}), inner=256)
    assert not fuses(SimpleNamespace(**{**vars(card), "shape": (4, 60)}), inner=256)
    monkeypatch.setattr(products, "_capability", lambda device: (8, 0))
    assert not fuses(card, inner=256)
