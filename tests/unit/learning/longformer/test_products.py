"""Which matrix product a layer gets, and that both kinds give the same answer."""

import copy
import gc
import weakref

import pytest
import torch
from torch.nn.functional import gelu

from postq.errors import SettingsInvalid
from postq.learning.longformer import accelerate, products, trained_products
from postq.learning.longformer.feed_forward import wide_layers
from postq.learning.longformer.kept_weights import KeptWeights
from postq.learning.longformer.products import pack_weight, product
from tests.unit.learning.longformer.reference import (
    alone,
    assert_same_gradients,
    classifier,
    configuration,
    documents,
    gradients,
    offsets,
)
from tests.unit.learning.longformer.torch_settings import SETTINGS, set_meanwhile

needs_packing = pytest.mark.usefixtures("build")


@pytest.fixture
def packed(monkeypatch):
    """Every layer packed, however short the stream."""
    monkeypatch.setenv("POSTQ_PRODUCTS", "packed")
    monkeypatch.setattr(products, "LEAST_ROWS", {8: 1, 16: 1})


@needs_packing
@pytest.mark.parametrize("then_gelu", [False, True])
@pytest.mark.parametrize("summands", [48, 192, 200, 500])
def test_a_packed_product_equals_the_layer(packed, then_gelu, summands):
    layer, states = torch.nn.Linear(summands, 80), torch.randn(300, summands)
    with torch.no_grad():
        found = product(layer, rows=300, then_gelu=then_gelu)(states)
        wanted = gelu(layer(states)) if then_gelu else layer(states)
    assert products.packs(layer.weight, rows=300)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)


@needs_packing
def test_packed_models_stay_within_twice_the_error_of_stock(packed):
    model, lengths = classifier(configuration(windows=[16] * 6, heads=4, width=16)), [200, 90, 333]
    docs = documents(lengths)
    with torch.no_grad():
        truth = alone(copy.deepcopy(model).double(), docs)
        stock = alone(model, docs)
        found = accelerate(model).forward_packed(torch.cat(docs), offsets(lengths))
    torch.testing.assert_close(found, stock, atol=1e-4, rtol=0.0)
    assert (found - truth).norm() <= 2 * (stock - truth).norm() + 2e-6


@needs_packing
def test_gradients_of_packed_products_equal_the_stock_models(packed):
    model, lengths = classifier(configuration(heads=4, width=16), sharpness=3.0), [200, 90]
    docs, weights = documents(lengths), torch.randn(2, 3)
    answers = accelerate(model).forward_packed(torch.cat(docs), offsets(lengths))
    found = gradients(model, answers, weights)
    assert_same_gradients(found, gradients(model, alone(model, docs), weights))


@needs_packing
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_training_multiplies_through_the_same_library_as_inference(packed, monkeypatch, activation):
    model, doc = classifier(configuration(activation=activation)), documents([60])[0]
    fast, used = accelerate(model), note_packings(monkeypatch)
    fast.forward_packed(doc, [0, 60]).sum().backward()
    assert used


STATES = {
    "by columns": lambda: torch.randn(48, 100).T,
    "apart": lambda: torch.randn(200, 96)[::2, ::2],
    "all one row": lambda: torch.randn(1, 48).expand(100, 48),
}


@needs_packing
@pytest.mark.parametrize("layout", STATES)
def test_feed_forward_layers_take_states_and_gradients_of_any_layout(packed, layout):
    up, down = torch.nn.Linear(48, 80), torch.nn.Linear(80, 48)
    states = STATES[layout]().requires_grad_()
    leaves = [states, *up.parameters(), *down.parameters()]
    found, wanted = (
        torch.autograd.grad(answer.sum(), leaves)  # of a sum: one number, expanded to all places
        for answer in (wide_layers(states, up, down, gelu), down(gelu(up(states))))
    )
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@needs_packing
def test_frozen_weights_cost_half_the_products_of_a_backward(packed, monkeypatch):
    model, doc = classifier(configuration(heads=4, width=16)), documents([60])[0]
    fast, noted = accelerate(model), []
    noting = lambda *given, **options: noted.append(1) or products.multiply(*given, **options)  # noqa: E731
    monkeypatch.setattr(trained_products, "multiply", noting)
    costs, found = [], []
    for frozen in (False, True):
        model.longformer.encoder.requires_grad_(not frozen)
        model.zero_grad()
        answer = fast.forward_packed(doc, [0, 60]).sum()
        noted.clear()
        answer.backward()
        costs.append(len(noted))
        found.append(model.longformer.embeddings.word_embeddings.weight.grad)
    assert costs[0] == 2 * costs[1] > 0
    assert torch.equal(*found)


def note_packings(monkeypatch):
    """A list that grows with every weight packed."""
    noted = []
    for place in (products, trained_products):
        monkeypatch.setattr(place, "pack_weight", lambda weight: noted.append(1) or pack_weight(weight))
    return noted


@needs_packing
def test_packed_weights_follow_the_parameters(packed):
    model, doc = classifier(), documents([50])[0]
    fast = accelerate(model)
    with torch.no_grad():
        fast.forward_packed(doc, [0, 50])
        for weight in model.parameters():
            weight.data.mul_(1.1)  # leaves no trace that a cache could see
        found = fast.forward_packed(doc, [0, 50])
        torch.testing.assert_close(found, model(doc[None]).logits, atol=1e-5, rtol=0.0)


@needs_packing
def test_kept_weights_serve_short_documents_and_follow_changes_in_place(monkeypatch):
    monkeypatch.setenv("POSTQ_PRODUCTS", "packed")
    model, doc = classifier(), documents([60])[0]
    fast, packings = accelerate(model).keep_packed(), note_packings(monkeypatch)
    with torch.no_grad():
        fast.forward_packed(doc, [0, 60])
        first = len(packings)
        fast.forward_packed(doc, [0, 60])
        assert 0 < first == len(packings)
        for weight in model.parameters():
            weight.mul_(1.1)
        found = fast.forward_packed(doc, [0, 60])
        torch.testing.assert_close(found, model(doc[None]).logits, atol=1e-5, rtol=0.0)
        assert len(packings) == 2 * first
        fast.forget()
        fast.forward_packed(doc, [0, 60])
        assert len(packings) == 3 * first


@needs_packing
def test_a_kept_weight_goes_with_the_parameter_it_was_packed_from():
    """Another parameter may get its very address and would be taken for it."""
    layer, kept = torch.nn.Linear(64, 64), KeptWeights()
    panels = weakref.ref(kept.form(pack_weight, layer.weight).panels)
    assert panels() is kept.form(pack_weight, layer.weight).panels
    layer.weight = torch.nn.Parameter(torch.randn(64, 64))
    gc.collect()
    assert panels() is None


@pytest.mark.parametrize(
    ("layer", "rows"),
    [
        (torch.nn.Linear(48, 80), 0),
        (torch.nn.Linear(48, 80).double(), 300),
        (torch.nn.Linear(48, 80).bfloat16(), 300),
    ],
)
def test_short_streams_and_other_dtypes_stay_plain(packed, layer, rows):
    assert not products.packs(layer.weight, rows=rows)
    assert product(layer, rows=rows) is layer


def test_plain_products_can_be_asked_for(packed, monkeypatch):
    monkeypatch.setenv("POSTQ_PRODUCTS", "plain")
    assert not products.packs(torch.nn.Linear(48, 80).weight, rows=300)


def test_left_alone_the_processor_decides(packed, monkeypatch):
    monkeypatch.delenv("POSTQ_PRODUCTS")
    monkeypatch.setattr(products, "packing_works", lambda: True)
    for slow in (True, False):
        monkeypatch.setattr(products, "slow_in_mkl", lambda slow=slow: slow)
        assert products.packs(torch.nn.Linear(48, 80).weight, rows=300) is slow


@needs_packing
def test_a_compiled_product_that_answers_otherwise_than_torch_is_not_used(monkeypatch):
    monkeypatch.setattr(products, "multiply", lambda *_: torch.zeros(40, 40))
    assert not products.packing_works.__wrapped__()


@needs_packing
@pytest.mark.parametrize("told", SETTINGS)
def test_a_callers_settings_of_torch_do_not_disturb_the_trial(told):
    with set_meanwhile(told):
        assert products.packing_works.__wrapped__()


def test_without_the_compiled_functions_products_are_plain(monkeypatch):
    monkeypatch.setattr(products, "why_not_compiled", lambda: "they were not built")
    assert not products.packing_works.__wrapped__()


def test_an_unknown_product_is_refused(monkeypatch):
    monkeypatch.setenv("POSTQ_PRODUCTS", "quick")
    with pytest.raises(SettingsInvalid, match="POSTQ_PRODUCTS is 'quick'"):
        accelerate(classifier())


@needs_packing
def test_the_trial_before_first_use_meets_a_full_panel_and_one_that_is_not(build, monkeypatch):
    tried = []

    def noted(weight):
        tried.append(len(weight))
        return pack_weight(weight)

    monkeypatch.setattr(products, "pack_weight", noted)
    assert products._agrees()
    assert tried
    assert all(outputs > build.panel and outputs % build.panel for outputs in tried)
