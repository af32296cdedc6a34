"""The end of a residual block by Triton against torch, with gradients, dropout and both number formats."""

import pytest
import torch
from torch.nn.functional import layer_norm

from postq.learning.longformer.gpu.norm import _ResidualNorm, residual_norm
from tests.unit.learning.longformer.reference import stream

HALF = torch.bfloat16


def parts(device, count, hidden, update=torch.float32, states=torch.float32):
    norm = torch.nn.LayerNorm(hidden).to(device)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    given = [torch.randn(count, hidden).to(device, update), torch.randn(hidden).to(device)]
    given.append(torch.randn(count, hidden).to(device, states))
    return [part.requires_grad_() for part in given], norm


def plain(update, bias, states, norm):
    whole = update.float() + bias + states.float()
    return layer_norm(whole, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


@pytest.mark.parametrize(("count", "hidden"), [(37, 24), (5, 96), (1, 768)])
@pytest.mark.parametrize(
    ("update", "states", "off"),
    [(torch.float32, torch.float32, 2e-6), (HALF, torch.float32, 0.01), (HALF, HALF, 0.01)],
)
def test_states_and_gradients_equal_torchs(device, count, hidden, update, states, off):
    given, norm = parts(device, count, hidden, update, states)
    found, wanted = residual_norm(*given, norm), plain(*given, norm)
    assert (found.wide.dtype, found.narrow.dtype) == (states, update)
    first, second = torch.randn_like(wanted), torch.randn_like(wanted)
    ours = (found.wide.float() * first + found.narrow.float() * second).sum()
    wanted_of = [*given, norm.weight, norm.bias]
    pairs = zip(
        [found.wide, found.narrow, *torch.autograd.grad(ours, wanted_of)],
        [wanted, wanted, *torch.autograd.grad((wanted * (first + second)).sum(), wanted_of)],
        strict=True,
    )
    for one, other in pairs:
        assert (one.float() - other.float()).norm() <= off * other.float().norm()


@pytest.mark.parametrize("used", ["wide", "narrow", "firsts"])
def test_first_rows_and_whichever_output_is_used_give_gradients(device, used):
    batch = stream([3, 1, 9], device=device)
    given, norm = parts(device, batch.tokens, 32, HALF)
    found, wanted = residual_norm(*given, norm, batch), plain(*given, norm)
    ours, theirs = getattr(found, used).float(), wanted[[0, 3, 4]] if used == "firsts" else wanted
    weights = torch.randn_like(theirs)
    for one, other in zip(
        torch.autograd.grad((ours * weights).sum(), given),
        torch.autograd.grad((theirs * weights).sum(), given),
        strict=True,
    ):
        assert (one.float() - other.float()).norm() <= 0.01 * other.float().norm()


def test_gradients_under_dropout_are_those_of_the_same_draw(device):
    (update, bias, states), norm = parts(device, 9, 24)

    def answer(update, bias, states):
        return _ResidualNorm.apply(update, bias, states, norm.weight, norm.bias, None, 1e-5, 0.4, 5)[0]

    given = (update, bias, states)
    weights, ways = torch.randn_like(states), [torch.randn_like(part) for part in given]
    slopes = torch.autograd.grad((answer(*given) * weights).sum(), given)
    with torch.no_grad():
        ahead = answer(*(part + 1e-3 * way for part, way in zip(given, ways, strict=True)))
        back = answer(*(part - 1e-3 * way for part, way in zip(given, ways, strict=True)))
        slope = ((ahead - back).double() * weights).sum() / 2e-3
    found = sum(float((one * way).sum()) for one, way in zip(slopes, ways, strict=True))
    assert found == pytest.approx(float(slope), rel=1e-2, abs=1e-2)


def test_dropout_drops_the_share_that_it_is_asked_to(device):
    norm = torch.nn.LayerNorm(768).to(device)
    ones, zeros = torch.ones(64, 768, device=device), torch.zeros(64, 768, device=device)
    with torch.no_grad():
        found = residual_norm(ones, zeros[0], zeros, norm, dropout=0.25).wide
    dropped = float((found < 0).float().mean())
    assert dropped == pytest.approx(0.25, abs=0.01)
