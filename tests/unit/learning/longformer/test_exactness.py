"""Whole models against transformers, each document alone and unpadded; errors against float64."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from postq.learning.longformer import accelerate
from tests.unit.learning.longformer.reference import (
    alone,
    backbone,
    classifier,
    configuration,
    documents,
    hidden_alone,
    offsets,
)

# Stock itself fails at a window of 2, and where a window does not divide the widest one.
WINDOWS = st.lists(st.sampled_from([4, 8, 16, 64]), min_size=1, max_size=3)
LENGTHS = st.lists(st.integers(1, 150), min_size=1, max_size=4)


def root_mean_square(found, truth):
    return float((found.double() - truth).pow(2).mean().sqrt())


@given(
    lengths=LENGTHS,
    windows=WINDOWS,
    heads=st.sampled_from([1, 2, 3]),
    width=st.sampled_from([4, 16]),
    sharpness=st.sampled_from([0.5, 1.0, 3.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_packed_logits_equal_the_stock_models(lengths, windows, heads, width, sharpness, seed):
    torch.manual_seed(seed)
    config = configuration(windows=windows, heads=heads, width=width)
    model = classifier(config, sharpness=sharpness / width**0.5 * 2)
    fast, docs = accelerate(model), documents(lengths)
    with torch.no_grad():
        found, stock = fast.forward_packed(torch.cat(docs), offsets(lengths)), alone(model, docs)
        truth = alone(copy.deepcopy(model).double(), docs)
    torch.testing.assert_close(found, stock, atol=1e-4, rtol=0.0)
    assert root_mean_square(found, truth) <= 2 * root_mean_square(stock, truth) + 2e-6


@st.composite
def marked_documents(draw):
    """Lengths and, for each document, at least one global position (stock cannot run a batch without)."""
    lengths = draw(st.lists(st.integers(1, 120), min_size=1, max_size=3))
    marks = [sorted(draw(st.sets(st.integers(0, n - 1), min_size=0, max_size=5))) for n in lengths]
    return lengths, marks


@given(marked=marked_documents(), windows=WINDOWS, seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_hidden_states_equal_the_stock_models_whatever_tokens_are_global(marked, windows, seed):
    torch.manual_seed(seed)
    lengths, marks = marked
    model, docs = backbone(configuration(windows=windows)), documents(lengths)
    bounds = offsets(lengths)
    positions = [start + mark for start, of in zip(bounds, marks, strict=False) for mark in of]
    with torch.no_grad():
        found = accelerate(model).hidden_packed(torch.cat(docs), bounds, global_positions=positions)
        stock = [hidden_alone(model, doc, of) for doc, of in zip(docs, marks, strict=True)]
    torch.testing.assert_close(found, torch.cat(stock), atol=1e-4, rtol=0.0)


@pytest.mark.parametrize("sharpness", [1.0, 6.0])
def test_the_error_against_float64_is_that_of_stock(sharpness):
    torch.manual_seed(1)
    model = backbone(configuration(windows=[16] * 6, heads=4, width=16), sharpness=sharpness)
    lengths = [200, 90, 333]
    docs, exact = documents(lengths), copy.deepcopy(model).double()
    with torch.no_grad():
        truth = torch.cat([hidden_alone(exact, doc, [0]) for doc in docs])
        stock = torch.cat([hidden_alone(model, doc, [0]) for doc in docs])
        found = accelerate(model).hidden_packed(torch.cat(docs), offsets(lengths))
    assert root_mean_square(found, truth) <= 1.25 * root_mean_square(stock, truth)


@pytest.mark.parametrize("kernel", ["auto", "stock", "sdpa"])
def test_every_selectable_kernel_gives_the_stock_logits(kernel):
    model, lengths = classifier(configuration(width=16), sharpness=0.25), [1, 40, 7, 130]
    docs = documents(lengths)
    with torch.no_grad():
        found = accelerate(model, attention=kernel).forward_packed(torch.cat(docs), offsets(lengths))
        torch.testing.assert_close(found, alone(model, docs), atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("activation", ["gelu", "relu", "gelu_new"])
def test_other_activations_are_kept(activation):
    model, docs = classifier(configuration(activation=activation)), documents([50, 9])
    fast = accelerate(model)
    with torch.no_grad():
        found = fast.forward_packed(torch.cat(docs), [0, 50, 59])
        torch.testing.assert_close(found, alone(model, docs), atol=1e-5, rtol=0.0)
    trained = fast.train().forward_packed(torch.cat(docs), [0, 50, 59])
    torch.testing.assert_close(trained, found, atol=1e-5, rtol=0.0)


def test_a_document_as_long_as_the_position_table_and_windows_wider_than_it():
    model = classifier(configuration(windows=(1024, 32), table=302))
    docs = documents([300, 1])
    with torch.no_grad():
        found = accelerate(model).forward_packed(torch.cat(docs), [0, 300, 301])
        torch.testing.assert_close(found, alone(model, docs), atol=1e-5, rtol=0.0)


def test_padding_ids_inside_a_document_keep_the_padding_position():
    model, doc = classifier(), documents([60])[0]
    doc[[5, 6, 40]] = 1
    with torch.no_grad():
        found = accelerate(model).forward_packed(doc, [0, 60])
        stock = model(doc[None], attention_mask=torch.ones(1, 60, dtype=torch.long)).logits
    torch.testing.assert_close(found, stock, atol=1e-5, rtol=0.0)


def test_token_types_are_read():
    model, doc = classifier(), documents([60])[0]
    kinds = torch.randint(0, 2, (60,))
    with torch.no_grad():
        found = accelerate(model).forward_packed(doc, [0, 60], token_type_ids=kinds)
        stock = model(doc[None], token_type_ids=kinds[None]).logits
    torch.testing.assert_close(found, stock, atol=1e-5, rtol=0.0)


def half_precision_errors(seed, *, autocast):
    """(ours, stock) squared distances from float32 of the hidden states of six documents."""
    torch.manual_seed(seed)
    model = backbone(configuration(windows=[16] * 4, heads=4, width=16))
    docs, bounds = documents([200] * 6), offsets([200] * 6)
    half = model if autocast else copy.deepcopy(model).bfloat16()
    with torch.no_grad():
        truth = torch.cat([hidden_alone(model, doc, [0]) for doc in docs]).double()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            stock = torch.cat([hidden_alone(half, doc, [0]) for doc in docs])
            found = accelerate(half).hidden_packed(torch.cat(docs), bounds)
    assert found.dtype == stock.dtype
    return root_mean_square(found, truth) ** 2, root_mean_square(stock, truth) ** 2


@pytest.mark.parametrize(("autocast", "room"), [(False, 1.0), (True, 1.1)])
def test_bfloat16_is_no_further_from_float32_than_stock_is(autocast, room):
    pairs = [half_precision_errors(seed, autocast=autocast) for seed in range(4)]
    assert sum(ours for ours, _ in pairs) <= room * sum(stock for _, stock in pairs)


def long_documents(seed, sharpness):
    """Logits of documents beyond 4,096 tokens: ours, the stock model's, and in float64."""
    torch.manual_seed(seed)
    config = configuration(windows=(512, 128, 256), heads=2, width=32, table=6002)
    model, lengths = classifier(config, sharpness=sharpness), [6000, 4096, 513]
    docs = documents(lengths)
    with torch.no_grad():
        found, stock = accelerate(model).forward_packed(torch.cat(docs), offsets(lengths)), alone(model, docs)
        return found, stock, alone(copy.deepcopy(model).double(), docs)


@pytest.mark.slow
@pytest.mark.parametrize(("sharpness", "tolerance"), [(1.0, 1e-4), (8.0, 1e-3)])
def test_long_documents_beyond_4096_tokens_equal_stock(sharpness, tolerance):
    """Errors of several models together: those of one model's few logits hang together, and are luck."""
    found, stock, truth = (
        torch.cat(part) for part in zip(*(long_documents(seed, sharpness) for seed in range(3)), strict=True)
    )
    torch.testing.assert_close(found, stock, atol=tolerance, rtol=0.0)
    assert root_mean_square(found, truth) <= 2 * root_mean_square(stock, truth) + 2e-6
