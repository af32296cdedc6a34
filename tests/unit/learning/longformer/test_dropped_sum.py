"""Dropout and residual sum on a CPU: the right share, the same draw for the gradient, no mask."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from postq.learning.longformer.dropped_sum import dropped_sum

pytestmark = pytest.mark.usefixtures("any_build")


def seeded(update, states, dropout=0.25):
    torch.manual_seed(4)
    return dropped_sum(update, states, dropout)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (70, 768)])
def test_a_number_is_dropped_or_raised_and_its_gradient_likewise(shape, dtype):
    update, states = torch.randn(*shape).to(dtype).requires_grad_(), torch.randn(*shape).requires_grad_()
    found = seeded(update, states)
    kept = (found != states).detach()
    raised = update.detach().float() * kept / 0.75
    torch.testing.assert_close(found, states + raised)
    weights = torch.randn(*shape)
    of_update, of_states = torch.autograd.grad(found, (update, states), weights)
    assert of_update.dtype == dtype
    torch.testing.assert_close(of_update, (weights * kept / 0.75).to(dtype))
    assert torch.equal(of_states, weights)


def test_the_share_that_is_dropped_is_the_one_asked_for_and_every_draw_is_another():
    ones, zeros = torch.ones(2_000, 500), torch.zeros(2_000, 500)
    first, second = dropped_sum(ones, zeros, 0.1) == 0, dropped_sum(ones, zeros, 0.1) == 0
    for drawn in (first, second):
        assert (drawn.float().mean() - 0.1).abs() < 5 * (0.09 / ones.numel()) ** 0.5
    pairs = [(first, second), (first[1:], first[:-1]), (first[:, 1:], first[:, :-1])]
    for one, other in pairs:
        together = torch.stack([one.flatten(), other.flatten()]).float()
        assert torch.corrcoef(together)[0, 1].abs() < 5 / ones.numel() ** 0.5


def test_the_draw_depends_on_no_number_of_threads():
    update, states = torch.randn(300, 501), torch.randn(300, 501)
    found, before = [], torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(seeded(update, states))
    torch.set_num_threads(before)
    assert torch.equal(*found)


def test_a_recomputed_block_draws_the_same():
    update, states = torch.randn(40, 64, requires_grad=True), torch.randn(40, 64)

    def block(update):
        return dropped_sum(torch.tanh(update), states, 0.5).square()

    gradients = []
    for run in (block, lambda given: checkpoint(block, given, use_reentrant=False)):
        torch.manual_seed(9)
        gradients.append(torch.autograd.grad(run(update).sum(), update)[0])
    assert torch.equal(*gradients)


def test_nan_and_infinity_are_kept():
    states = torch.zeros(1, 64)
    for odd in (torch.nan, torch.inf):
        update = torch.full((1, 64), odd, dtype=torch.bfloat16, requires_grad=True)
        assert not seeded(update, states).isfinite().all()
        weights = torch.full((1, 64), odd)
        (gradient,) = torch.autograd.grad(seeded(update, states), update, weights)
        assert gradient.isnan().any() or gradient.isinf().any()


@pytest.mark.parametrize(
    ("update", "states"),
    [
        (torch.ones(4, 4, dtype=torch.float64), torch.zeros(4, 4, dtype=torch.float64)),
        (torch.ones(4, 4, dtype=torch.bfloat16), torch.zeros(4, 4, dtype=torch.bfloat16)),
    ],
)
def test_other_number_formats_are_left_to_torch(update, states):
    found = dropped_sum(update, states, 0.5)
    assert found.dtype == states.dtype
    assert set(found.flatten().tolist()) <= {0.0, 2.0}


@pytest.mark.parametrize(("dropout", "expected"), [(0.0, 3.0), (1.0, 1.0)])
def test_nothing_and_everything_may_be_dropped(dropout, expected):
    assert (dropped_sum(torch.full((3, 3), 2.0), torch.ones(3, 3), dropout) == expected).all()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((torch.ones(4), None, torch.ones(5), 0.5, 1, 1), "not of one length"),
        ((torch.ones(8)[::2], None, torch.ones(4), 0.5, 1, 1), "not of consecutive numbers"),
        ((torch.ones(4).double(), None, torch.ones(4), 0.5, 1, 1), "array 1 is no float32 or int16 array"),
        ((torch.ones(4), torch.ones(4).short(), torch.ones(4), 0.5, 1, 1), "array 2 is no float32 array"),
        ((torch.ones(4), None, torch.ones(4), 1.0, 1, 1), "over 0 and under 1"),
        ((torch.ones(4), None, torch.ones(4), 0.5, 1, 0), "at least 1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(any_build, arguments, error):
    given = [part.numpy() if isinstance(part, torch.Tensor) else part for part in arguments]
    with pytest.raises(ValueError, match=error):
        any_build.drop(*given)
