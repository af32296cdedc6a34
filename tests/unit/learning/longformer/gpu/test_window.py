"""Sliding-window attention by Triton against a slow softmax over all pairs, with gradients and dropout."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from postq.learning.longformer.gpu.window import _WindowAttention, window_attention
from tests.unit.learning.longformer.reference import slow_local_attention, stream

LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=4)
WINDOWS = st.integers(1, 80).map(lambda half: 2 * half)


def tensors(batch, width, dtype=torch.float32, heads=2):
    projected = torch.randn(batch.tokens, 3, heads, width, device=batch.device).to(dtype)
    rows = torch.randn(batch.documents, heads, width, device=batch.device).to(dtype)
    return projected.requires_grad_(), rows.requires_grad_()


def expected(projected, rows, batch, window):
    """In float64 on the CPU."""
    parts = [part.cpu().double() for part in projected.unbind(1)]
    answer = slow_local_attention(*parts, batch, window)
    return answer.index_copy(0, batch.first_index.cpu(), rows.cpu().double())


def on(device, lengths):
    return stream(lengths, device=device)


@pytest.mark.parametrize(
    ("lengths", "window", "width"),
    [
        ([1, 40, 300, 2, 130], 64, 16),
        ([1, 1], 8, 16),
        ([300], 192, 32),
        ([129, 130, 257], 16, 16),
        ([500, 3], 2, 64),
        ([300], 1_024, 128),
    ],
)
def test_answers_and_gradients_equal_those_of_the_slow_softmax(device, lengths, window, width):
    batch = on(device, lengths)
    projected, rows = tensors(batch, width)
    found = window_attention(projected, rows, batch, window=window)
    wanted = expected(projected, rows, batch, window)
    torch.testing.assert_close(found.cpu().double(), wanted, atol=1e-5, rtol=1e-5)
    weights = torch.randn(wanted.shape, dtype=torch.float64)
    ours = torch.autograd.grad((found.cpu().double() * weights).sum(), [projected, rows])
    slow = torch.autograd.grad((wanted * weights).sum(), [projected, rows])
    for one, other in zip(ours, slow, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@given(lengths=LENGTHS, window=WINDOWS)
@settings(max_examples=15, deadline=None)
def test_any_lengths_and_windows(device, lengths, window):
    batch = on(device, lengths)
    projected, rows = tensors(batch, 16, heads=1)
    with torch.no_grad():
        found = window_attention(projected, rows, batch, window=window)
        torch.testing.assert_close(
            found.cpu().double(), expected(projected, rows, batch, window), atol=1e-5, rtol=1e-5
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_off_by_rounding_alone(device, dtype):
    batch = on(device, [40, 300])
    projected, rows = tensors(batch, 32, dtype)
    found = window_attention(projected, rows, batch, window=64)
    wanted = expected(projected, rows, batch, 64)
    step = torch.finfo(dtype).eps
    assert found.dtype == dtype
    torch.testing.assert_close(found.cpu().double(), wanted, atol=4 * step, rtol=4 * step)
    (ours,) = torch.autograd.grad(found.float().sum(), [projected])
    (slow,) = torch.autograd.grad(wanted.sum(), [projected])
    assert (ours.float() - slow.float()).norm() <= 4 * step * slow.float().norm()


def test_sharp_scores_neither_overflow_nor_lose_the_global_token(device):
    batch = on(device, [150])
    projected, rows = tensors(batch, 16)
    with torch.no_grad():
        projected[:, 1] *= 400
        found = window_attention(projected, rows, batch, window=32)
        assert torch.isfinite(found).all()
        torch.testing.assert_close(
            found.cpu().double(), expected(projected, rows, batch, 32), atol=1e-3, rtol=1e-3
        )


def test_a_global_token_is_no_key_of_the_window_and_its_own_query_is_unused(device):
    batch = on(device, [70])
    projected, rows = tensors(batch, 16)
    answer = window_attention(projected, rows, batch, window=16)
    assert torch.equal(answer[0], rows[0])
    of_projected, of_rows = torch.autograd.grad(answer.sum(), [projected, rows])
    assert (of_projected[0, 0] == 0).all()
    assert (of_rows == 1).all()


def test_gradients_under_dropout_are_those_of_the_same_draw(device):
    batch = on(device, [1, 100])
    projected, rows = tensors(batch, 16)

    def answer(given):
        return _WindowAttention.apply(given, rows.detach(), batch, 32, 0.3, 7)

    weights, way = torch.randn(batch.tokens, 2, 16, device=device), torch.randn_like(projected)
    (found,) = torch.autograd.grad((answer(projected) * weights).sum(), [projected])
    with torch.no_grad():
        ahead, back = answer(projected + 1e-2 * way), answer(projected - 1e-2 * way)
        slope = ((ahead - back).double() * weights).sum() / 2e-2
    assert float((found * way).sum()) == pytest.approx(float(slope), rel=2e-3, abs=2e-2)


def check_unlike(one, other):
    """Draws that have no more to do with each other than chance allows; NaN where nothing is read."""
    both = torch.stack([one.flatten(), other.flatten()])
    both = both[:, both.isfinite().all(0)]
    assert torch.corrcoef(both)[0, 1].abs() < 5 / both.shape[1] ** 0.5


def test_dropout_keeps_the_expected_attention_and_draws_anew(device):
    """Each token has a value of its own, so that an answer says what share of each key was kept."""
    batch = on(device, [90])
    projected, rows = tensors(batch, 128)
    with torch.no_grad():
        projected[:, 2] = torch.eye(128, device=device)[:90, None]
        shares = expected(projected, rows, batch, 140)[1:].float()
        found = [window_attention(projected, rows, batch, window=140, dropout=0.2) for _ in range(2)]
    found = torch.stack(found)[:, 1:].cpu()
    torch.testing.assert_close(found, shares * (found > 0) / 0.8, atol=1e-6, rtol=1e-5)
    kept = (found > 0).float().where(shares > 0, torch.nan)
    for part in (kept[kept.isfinite()], kept[..., 0]):
        assert (part.mean() - 0.8).abs() < 5 * (0.16 / part.numel()) ** 0.5
    first, second = kept
    check_unlike(first, second)
    check_unlike(first[:, 0], first[:, 1])
    check_unlike(first[1:], first[:-1])
    check_unlike(first[..., 1:], first[..., :-1])
    check_unlike(first[1:, :, 2:], first[:-1, :, 1:-1])
