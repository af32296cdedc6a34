"""What global tokens read, by one pass of Triton over the stream, against a softmax over the document."""

from types import SimpleNamespace

import pytest
import torch

from postq.learning.longformer.gpu import pool
from postq.learning.longformer.gpu.pool import can_pool, pool_documents
from tests.unit.learning.longformer.reference import stream


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("lengths", "heads", "hidden"), [([1, 40, 300, 2, 130], 2, 24), ([128, 129], 12, 96), ([400], 16, 768)]
)
def test_means_and_gradients_equal_those_of_the_softmax(device, dtype, lengths, heads, hidden):
    batch, step = stream(lengths, device=device), torch.finfo(dtype).eps
    states = torch.randn(batch.tokens, hidden).to(device, dtype).requires_grad_()
    asking = (torch.randn(len(lengths), heads, hidden) * 0.3).to(device, dtype).float().requires_grad_()
    found = pool_documents(states, asking, batch)
    read = [states[start:stop].double() for start, stop in batch.spans]
    pairs = zip(asking.double(), read, strict=True)
    wanted = torch.stack([torch.softmax(asked @ rows.T, -1) @ rows for asked, rows in pairs])
    weights = torch.randn_like(wanted)
    assert (found - wanted).norm() <= step * wanted.norm()
    for one, other in zip(
        torch.autograd.grad((found * weights).sum(), [states, asking]),
        torch.autograd.grad((wanted * weights).sum(), [states, asking]),
        strict=True,
    ):
        assert (one.double() - other.double()).norm() <= 2 * step * other.double().norm()


def test_the_mean_of_a_long_document_is_joined_without_overflow(device):
    batch = stream([700], device=device)
    states = torch.randn(700, 32).to(device, torch.bfloat16)
    states[650] *= 60
    asking = states[650].float()[None, None].repeat(1, 2, 1)
    found = pool_documents(states, asking, batch)
    torch.testing.assert_close(found[0, 0], states[650].float())


def test_a_card_with_little_shared_memory_pools_where_no_gradient_is_wanted(monkeypatch):
    batch = stream([5, 9])
    half = torch.zeros(14, 32, dtype=torch.bfloat16)
    monkeypatch.setattr(pool, "_shared_memory", lambda device: 99 * 1_024)
    assert can_pool(half, batch, heads=2, dropout=0.0)
    card = SimpleNamespace(dtype=half.dtype, shape=half.shape, device=torch.device("cuda"))
    assert not can_pool(card, batch, heads=2, dropout=0.0)
    with torch.no_grad():
        assert can_pool(card, batch, heads=2, dropout=0.0)


def test_only_streams_that_the_kernels_serve_are_pooled():
    batch, half = stream([5, 9]), torch.zeros(14, 32, dtype=torch.bfloat16)
    assert can_pool(half, batch, heads=2, dropout=0.0)
    assert not can_pool(half.float(), batch, heads=2, dropout=0.0)
    assert not can_pool(half, batch, heads=17, dropout=0.0)
    assert not can_pool(half, batch, heads=2, dropout=0.1)
    assert not can_pool(torch.zeros(14, 2_048, dtype=torch.bfloat16), batch, heads=2, dropout=0.0)
    assert not can_pool(half, stream([14], [[0, 3]]), heads=2, dropout=0.0)
