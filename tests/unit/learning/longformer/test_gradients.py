"""Gradients and training mode against the stock model."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from postq.learning.longformer import accelerate
from tests.unit.learning.longformer.reference import (
    alone,
    assert_same_gradients,
    backbone,
    classifier,
    configuration,
    documents,
    gradients,
    offsets,
)


def spare_activations(model):
    """Checkpoint every layer, under the name that this transformers release has for it."""
    enable = getattr(model, "activation_checkpointing_enable", None)
    (enable or model.gradient_checkpointing_enable)()


@given(
    lengths=st.lists(st.integers(1, 150), min_size=1, max_size=3),
    windows=st.lists(st.sampled_from([4, 8, 64]), min_size=1, max_size=3),
    width=st.sampled_from([4, 16]),
    sharpness=st.sampled_from([1.0, 3.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=25, deadline=None)
def test_gradients_equal_the_stock_models(lengths, windows, width, sharpness, seed):
    torch.manual_seed(seed)
    model = classifier(configuration(windows=windows, width=width), sharpness=sharpness / width**0.5 * 2)
    docs, weights = documents(lengths), torch.randn(len(lengths), 3)
    packed = accelerate(model).forward_packed(torch.cat(docs), offsets(lengths))
    found = gradients(model, packed, weights)
    assert_same_gradients(found, gradients(model, alone(model, docs), weights))


def test_gradients_with_several_global_tokens_equal_the_stock_models():
    model, doc = classifier(), documents([120])[0]
    mask = torch.zeros(1, 120, dtype=torch.long)
    mask[0, [3, 50, 51]] = 1
    weights = torch.randn(1, 3)
    packed = accelerate(model).forward_packed(doc, [0, 120], global_positions=[3, 50, 51])
    found = gradients(model, packed, weights)
    stock = gradients(model, model(doc[None], global_attention_mask=mask).logits, weights)
    assert_same_gradients(found, stock)


def test_gradients_of_all_hidden_states_equal_the_stock_models():
    model, doc = backbone(), documents([120])[0]
    mask = torch.zeros(1, 120, dtype=torch.long)
    mask[0, 0] = 1
    weights = torch.randn(120, 8)
    found = gradients(model, accelerate(model).hidden_packed(doc, [0, 120]), weights)
    stock = gradients(model, model(doc[None], global_attention_mask=mask).last_hidden_state[0], weights)
    assert_same_gradients(found, stock)


@pytest.mark.parametrize("products", ["plain", "packed"])
def test_a_gradient_of_a_gradient_is_refused_rather_than_wrong(monkeypatch, products):
    monkeypatch.setenv("POSTQ_PRODUCTS", products)
    model, doc = classifier(configuration(width=16)), documents([100])[0]
    answer = accelerate(model).forward_packed(doc, [0, 100]).sum()
    weight = model.longformer.embeddings.word_embeddings.weight
    (gradient,) = torch.autograd.grad(answer, weight, create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable|not implemented"):
        gradient.square().sum().backward()


def test_gradient_checkpointing_changes_nothing():
    model, docs = classifier().train(), documents([100, 40])
    fast, weights = accelerate(model), torch.randn(2, 3)
    plain = gradients(model, fast.forward_packed(torch.cat(docs), [0, 100, 140]), weights)
    spare_activations(model)
    spared = gradients(model, fast.forward_packed(torch.cat(docs), [0, 100, 140]), weights)
    for name, gradient in plain.items():
        torch.testing.assert_close(spared[name], gradient)


@pytest.mark.parametrize("width", [4, 16])
def test_gradient_checkpointing_repeats_the_same_dropout(width):
    model, doc = classifier(configuration(dropout=0.3, width=width)).train(), documents([100])[0]
    fast, weights = accelerate(model), torch.randn(1, 3)
    torch.manual_seed(5)
    plain = gradients(model, fast.forward_packed(doc, [0, 100]), weights)
    spare_activations(model)
    torch.manual_seed(5)
    spared = gradients(model, fast.forward_packed(doc, [0, 100]), weights)
    for name, gradient in plain.items():
        torch.testing.assert_close(spared[name], gradient)


def test_dropout_is_drawn_in_training_and_off_in_evaluation():
    model, doc = classifier(configuration(dropout=0.3)), documents([100])[0]
    fast = accelerate(model)
    with torch.no_grad():
        assert torch.equal(fast.forward_packed(doc, [0, 100]), fast.forward_packed(doc, [0, 100]))
        fast.train()
        assert not torch.equal(fast.forward_packed(doc, [0, 100]), fast.forward_packed(doc, [0, 100]))
        assert model.training


def test_dropout_reaches_the_last_layer_without_gradients_too():
    model, doc = classifier(configuration(windows=(16,), dropout=0.3)), documents([100])[0]
    for part in (model.classifier, model.longformer.embeddings):
        part.dropout.p = 0.0
    model.longformer.encoder.layer[0].attention.self.dropout = 0.0
    fast = accelerate(model.train())
    with torch.no_grad():
        assert not torch.equal(fast.forward_packed(doc, [0, 100]), fast.forward_packed(doc, [0, 100]))


@pytest.mark.parametrize("width", [4, 16])
def test_dropout_leaves_the_expected_logits_where_stock_does(width):
    torch.manual_seed(4)
    config = configuration(windows=(16,), dropout=0.1, width=width)
    model, doc = classifier(config, sharpness=width**-0.5 * 2).train(), documents([60])[0]
    fast = accelerate(model)
    with torch.no_grad():
        ours = fast.forward_packed(doc.repeat(1500), offsets([60] * 1500))
        stock = model(doc.repeat(1500, 1)).logits
    spread = (ours.var(0) / 1500 + stock.var(0) / 1500).sqrt()
    assert ((ours.mean(0) - stock.mean(0)).abs() <= 5 * spread).all()
    assert (ours.std(0) / stock.std(0)).sub(1).abs().max() <= 0.15


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"foreach": True}])
def test_an_optimizer_step_is_seen_by_the_next_forward(options):
    model, docs = classifier(), documents([80, 20])
    fast = accelerate(model)
    stream, bounds = torch.cat(docs), [0, 80, 100]
    with torch.no_grad():
        before = fast.forward_packed(stream, bounds)
    optimizer = torch.optim.AdamW(fast.parameters(), lr=0.05, **options)
    fast.forward_packed(stream, bounds).pow(2).sum().backward()
    optimizer.step()
    with torch.no_grad():
        after = fast.forward_packed(stream, bounds)
        torch.testing.assert_close(after, alone(model, docs), atol=1e-5, rtol=0.0)
    assert not torch.allclose(after, before)


def test_training_packed_equals_training_stock():
    stock = classifier()
    model, docs = copy.deepcopy(stock), documents([70, 33, 1])
    fast, weights = accelerate(model), torch.randn(3, 3)
    for parameters, answer in (
        (stock, lambda: alone(stock, docs)),
        (model, lambda: fast.forward_packed(torch.cat(docs), offsets([70, 33, 1]))),
    ):
        optimizer = torch.optim.AdamW(parameters.parameters(), lr=1e-3, weight_decay=0.1)
        for _ in range(4):
            optimizer.zero_grad()
            (answer() * weights).sum().backward()
            optimizer.step()
    with torch.no_grad():
        torch.testing.assert_close(alone(model, docs), alone(stock, docs), atol=2e-3, rtol=0.0)


@pytest.mark.parametrize("dropout", [0.0, 1e-9])
def test_autocast_stays_within_bfloat16_of_float32(dropout):
    model, docs = classifier(configuration(dropout=dropout)).train(), documents([70, 33])
    fast, weights = accelerate(model), torch.randn(2, 3)
    plain = gradients(model, fast.forward_packed(torch.cat(docs), [0, 70, 103]), weights)
    with torch.autocast("cpu", torch.bfloat16):
        answer, stock_answer = fast.forward_packed(torch.cat(docs), [0, 70, 103]), alone(model, docs)
    found, stock = gradients(model, answer, weights), gradients(model, stock_answer, weights)
    total = torch.stack([gradient.norm() for gradient in plain.values()]).norm()

    def error(of):
        return torch.stack([(of[name] - plain[name]).norm() for name in plain]).norm() / total

    assert error(found) <= 1.5 * error(stock)
