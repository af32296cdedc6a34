"""The CUDA kernels, where there is a CUDA device (`benchmarks.longformer_cuda` checks base size)."""

import pytest
import torch

from postq.learning.longformer import accelerate
from tests.unit.learning.longformer.reference import alone, classifier, configuration, documents, offsets

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

LENGTHS = [1, 40, 300, 2, 130]


def model_on_cuda(**options):
    return classifier(configuration(windows=(64, 32, 64), heads=2, width=32, **options)).cuda()


@pytest.mark.parametrize("kernel", ["auto", "sdpa"])
def test_float32_logits_equal_stock(kernel):
    model, docs = model_on_cuda(), documents(LENGTHS)
    with torch.no_grad():
        found = accelerate(model, attention=kernel).forward_packed(torch.cat(docs), offsets(LENGTHS))
        stock = alone(model, [doc.cuda() for doc in docs])
    torch.testing.assert_close(found, stock, atol=1e-4, rtol=0.0)


@pytest.mark.parametrize("kernel", ["triton", "sdpa"])
def test_several_global_tokens_equal_stock(kernel):
    model, doc = model_on_cuda(), documents([200])[0]
    marks = torch.zeros(1, 200, dtype=torch.long, device="cuda")
    marks[0, [3, 77, 78]] = 1
    with torch.no_grad():
        fast = accelerate(model, attention=kernel)
        found = fast.forward_packed(doc, [0, 200], global_positions=[3, 77, 78])
        stock = model(doc[None].cuda(), global_attention_mask=marks).logits
    torch.testing.assert_close(found, stock, atol=1e-4, rtol=0.0)


def gradient(model, answer, weights):
    model.zero_grad()
    (answer.float() * weights).sum().backward()
    return torch.cat([weight.grad.float().flatten() for weight in model.parameters()])


@pytest.mark.parametrize("kernel", ["triton", "sdpa"])
def test_float32_gradients_equal_stock(kernel):
    model, docs = model_on_cuda(), documents(LENGTHS)
    weights = torch.randn(len(LENGTHS), 3).cuda()
    fast = accelerate(model, attention=kernel)
    found = gradient(model, fast.forward_packed(torch.cat(docs), offsets(LENGTHS)), weights)
    stock = gradient(model, alone(model, [doc.cuda() for doc in docs]), weights)
    assert (found - stock).norm() <= 1e-4 * stock.norm()
