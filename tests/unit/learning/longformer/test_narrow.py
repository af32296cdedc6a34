"""bfloat16 on the CPU: the compiled attention for it, and products on weights that were narrowed once."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import gelu, linear

from postq.learning.longformer import accelerate, narrow_products, native
from postq.learning.longformer.kept_weights import KeptWeights
from postq.learning.longformer.narrow_products import narrow_product, narrow_projections, narrows
from postq.learning.longformer.native import native_attention, why_no_narrow
from tests.unit.learning.longformer.attention_cases import (
    answers,
    answers_of_one_draw,
    check_nan_shows,
    check_same_bits_alone,
    check_scores_far_apart,
    dropped_shares,
    exact,
    tensors,
)
from tests.unit.learning.longformer.reference import (
    classifier,
    configuration,
    documents,
    offsets,
    stream,
)
from tests.unit.learning.longformer.torch_settings import SETTINGS, set_meanwhile

NARROW = torch.bfloat16
ROUNDING = 2**-9
"""Half a unit in the last of bfloat16's eight digits, for numbers just above a power of two."""

runs_here = pytest.mark.usefixtures("narrow_build")

narrow_tensors = partial(tensors, width=32, dtype=NARROW)

LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=4)
WINDOWS = st.integers(1, 80).map(lambda half: 2 * half)
WIDTHS = st.sampled_from([32, 64, 128])


def lost_with_answers(parts, answer, weights):
    """By how much gradients of (queries, keys) may be off because answers were rounded before the backward.

    Every pull holds the product of its row's answer and gradient, however small the pull itself.
    """
    query, key = (part.double().norm(dim=-1).max() for part in parts[:2])
    off = ROUNDING * (answer * weights.double()).norm() / answer.shape[-1] ** 0.5
    return off * key, off * query


@runs_here
@given(lengths=LENGTHS, window=WINDOWS, width=WIDTHS, sharpness=st.sampled_from([0.3, 1.0, 3.0]))
@settings(max_examples=25, deadline=None)
def test_answers_and_gradients_are_within_bfloat16s_rounding(lengths, window, width, sharpness):
    batch = stream(lengths)
    parts = narrow_tensors(batch.tokens, len(lengths), width=width, sharpness=sharpness)
    weights = torch.randn(batch.tokens, 2, width).to(NARROW)
    found = answers(native_attention, parts, batch, window, weights)
    truth = exact(parts, batch, window, weights)
    through_answers = lost_with_answers(parts, truth[0], weights)
    rooms = zip(found, truth, (2, 3, 3, 2, 1), (0, *through_answers, 0, 0), strict=True)
    for ours, whole, room, lost in rooms:
        assert ours.dtype == NARROW
        # Shares are rounded, pulls are differences of what was rounded, and both sums once more.
        assert (ours.double() - whole).norm() <= room * ROUNDING * (whole.norm() + 0.3 * sharpness) + lost
    with torch.no_grad():
        assert torch.equal(native_attention(*parts, batch, window=window), found[0])


@runs_here
@pytest.mark.parametrize(("lengths", "window"), [([1600], 64), ([505, 1, 506, 1012], 2), ([1100, 300], 1200)])
def test_documents_of_several_chunks_too(lengths, window):
    batch = stream(lengths)
    parts, weights = narrow_tensors(batch.tokens, len(lengths)), torch.randn(batch.tokens, 2, 32).to(NARROW)
    truth = exact(parts, batch, window, weights)
    found = answers(native_attention, parts, batch, window, weights)
    for ours, whole in zip(found, truth, strict=True):
        assert (ours.double() - whole).norm() <= 2 * ROUNDING * whole.norm()


@runs_here
def test_strided_views_of_one_projection_are_read_in_place():
    batch = stream([700, 1, 90])
    fused, rows = torch.randn(batch.tokens, 3, 2, 32).to(NARROW), torch.randn(3, 2, 32).to(NARROW)
    with torch.no_grad():
        found = native_attention(*fused.unbind(1), rows, batch, window=64)
        apart = native_attention(*(part.contiguous() for part in fused.unbind(1)), rows, batch, window=64)
    assert torch.equal(found, apart)


@runs_here
@pytest.mark.parametrize("threads", [1, 3])
def test_a_document_is_the_same_to_the_last_bit_alone_in_company_and_on_any_number_of_threads(threads):
    check_same_bits_alone(narrow_tensors(2240, 3), torch.randn(2240, 2, 32).to(NARROW), threads=threads)


@runs_here
@pytest.mark.parametrize(("lengths", "window"), [([100], 24), ([1, 60, 40], 200)])
def test_gradients_under_dropout_are_those_of_the_same_draw(lengths, window):
    batch = stream(lengths)
    parts, weights = narrow_tensors(batch.tokens, len(lengths)), torch.randn(batch.tokens, 2, 32).to(NARROW)
    found, truth = answers_of_one_draw(parts, batch, window, weights)
    for ours, whole in zip(found, truth, strict=True):
        assert (ours.double() - whole).norm() <= 3 * ROUNDING * whole.norm()


@runs_here
def test_dropout_drops_its_share():
    batch, parts = stream([100]), narrow_tensors(100, 1)
    seen, kept = (
        (dropped_shares(*parts[:2], batch, window=80, dropout=dropout, seed=5) > 0).sum()
        for dropout in (0.0, 0.3)
    )
    assert 0.65 < kept / seen < 0.75


@runs_here
def test_nan_is_never_swallowed():
    check_nan_shows(width=32, dtype=NARROW)


@runs_here
def test_scores_far_apart_neither_overflow_nor_vanish():
    check_scores_far_apart(width=32, dtype=NARROW)


@runs_here
def test_float32_arrays_are_refused_by_the_build_for_bfloat16(narrow_build):
    parts = [np.zeros((5, 2, 32), np.float32) for _ in range(4)]
    with pytest.raises(ValueError, match="array 1 is no int16 array of 3 axes"):
        narrow_build.attend(*parts, None, (0, 5), 4, 1, 0.0, 1)
    parts = [np.zeros((5, 2, 48), np.int16) for _ in range(4)]
    with pytest.raises(ValueError, match="no multiple of the step"):
        narrow_build.attend(*parts, None, (0, 5), 4, 1, 0.0, 1)


@runs_here
@pytest.mark.parametrize("told", SETTINGS)
def test_a_callers_settings_of_torch_do_not_make_it_seem_to_disagree(told):
    native.why_no_narrow.cache_clear()
    with set_meanwhile(told):
        assert why_no_narrow() is None


@runs_here
def test_a_kernel_that_answers_otherwise_than_the_flash_kernel_is_not_used(monkeypatch):
    native.why_no_narrow.cache_clear()
    monkeypatch.setattr(native, "_forward", lambda *arguments: arguments[3].zero_())
    assert "disagrees with the flash kernel" in why_no_narrow()
    native.why_no_narrow.cache_clear()


@pytest.mark.parametrize("width", [16, 32])
def test_without_a_build_for_it_bfloat16_goes_through_float32(build, width, monkeypatch):
    del build
    monkeypatch.setattr(native, "why_no_narrow", lambda: "no AMX here")
    batch = stream([70, 30])
    parts = narrow_tensors(100, 2, width=width)
    weights = torch.randn(100, 2, width).to(NARROW)
    found = answers(native_attention, parts, batch, 16, weights)
    truth = exact(parts, batch, 16, weights)
    for ours, whole in zip(found, truth, strict=True):
        assert ours.dtype == NARROW
        torch.testing.assert_close(ours.double(), whole, atol=1e-4, rtol=2 * ROUNDING)


@pytest.fixture(params=["reordered", "plain"])
def way(request, monkeypatch):
    """oneDNN with the weight in its own order, and torch's function where a torch lacks that."""
    if request.param == "plain":
        monkeypatch.setattr(narrow_products, "_reorders", lambda: False)
    elif not narrow_products._reorders():
        pytest.skip("this torch has no product on reordered weights")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("then_gelu", [False, True])
@pytest.mark.parametrize("rows", [1, 40, 700])
def test_a_product_on_kept_weights_is_within_bfloat16s_rounding(rows, then_gelu):
    layer, states = torch.nn.Linear(96, 160), torch.randn(rows, 96)
    with torch.no_grad():
        found = narrow_product(layer, then_gelu=then_gelu, kept=KeptWeights())(states)
        exact = linear(states.to(NARROW).double(), layer.weight.to(NARROW).double(), layer.bias.double())
    exact = gelu(exact) if then_gelu else exact
    assert found.dtype == NARROW
    assert (found.double() - exact).norm() <= 2 * ROUNDING * exact.norm()


@pytest.mark.usefixtures("way")
def test_projections_of_one_product_are_those_of_each_layer():
    layers = [torch.nn.Linear(64, 96) for _ in range(3)]
    states, kept = torch.randn(50, 64), KeptWeights()
    with torch.no_grad():
        found = narrow_projections(states, layers, kept=kept)
        for part, layer in zip(found, layers, strict=True):
            torch.testing.assert_close(part, narrow_product(layer, kept=KeptWeights())(states))


def test_weights_are_narrowed_once_and_again_when_any_of_them_changes(monkeypatch):
    layers, made = [torch.nn.Linear(64, 64) for _ in range(3)], []
    reordered = narrow_products._reordered
    monkeypatch.setattr(narrow_products, "_reordered", lambda weight: made.append(1) or reordered(weight))
    states, kept = torch.randn(20, 64), KeptWeights()
    with torch.no_grad():
        for _ in range(2):
            before = narrow_projections(states, layers, kept=kept)
        assert len(made) == 1
        layers[2].weight.mul_(2.0)
        after = narrow_projections(states, layers, kept=kept)
    assert len(made) == 2
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[2], after[2])


def test_a_weight_that_takes_anothers_place_is_narrowed_anew():
    """Of several, only the first takes the kept form with it when it goes."""
    layers, numbers = [torch.nn.Linear(64, 64) for _ in range(3)], torch.randn(64, 64)
    states, kept = torch.randn(20, 64), KeptWeights()
    with torch.no_grad():
        layers[1].weight = torch.nn.Parameter(numbers.data)
        before = narrow_projections(states, layers, kept=kept)
        numbers.data.mul_(-1.0)  # leaves no trace
        layers[1].weight = torch.nn.Parameter(numbers.data)  # at the very address, and as often changed
        after = narrow_projections(states, layers, kept=kept)
    assert not torch.equal(before[1], after[1])


@pytest.mark.parametrize("weight", [torch.empty(4, 4, device="meta"), torch.empty(4, 4).double()])
def test_weights_elsewhere_or_of_other_formats_are_not_narrowed(weight):
    with torch.autocast("cpu", torch.bfloat16):
        assert not narrows(weight)


@pytest.mark.usefixtures("narrow_build")
def test_the_kernel_is_tried_before_any_layer_is_checkpointed():
    """Tensors saved by a trial within a checkpointed layer would be taken for the layer's own."""
    model = classifier(configuration(windows=[16] * 2, heads=2, width=32)).train()
    for layer in model.longformer.encoder.layer:
        layer.gradient_checkpointing = True
    native.why_no_narrow.cache_clear()
    fast = accelerate(model)
    with torch.autocast("cpu", torch.bfloat16):
        logits = fast.forward_packed(torch.cat(documents([60, 50])), offsets([60, 50]))
    logits.float().sum().backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())


def test_only_autocast_to_bfloat16_narrows():
    assert not narrows()
    with torch.autocast("cpu", torch.bfloat16):
        assert narrows()
    with torch.autocast("cpu", torch.float16):
        assert not narrows()


def test_scoring_with_kept_weights_is_no_further_from_float32_than_stock_is():
    """Over several models: the errors of one model's few logits hang together, and are luck."""
    ours, stock = [], []
    for seed in range(5):
        torch.manual_seed(seed)
        model = classifier(configuration(windows=[16] * 4, heads=2, width=32))
        docs = documents([200, 90, 1, 130])
        with torch.no_grad():
            truth = torch.cat([model(doc[None]).logits for doc in docs])
            half = copy.deepcopy(model).bfloat16()
            stock.append(torch.cat([half(doc[None]).logits for doc in docs]).double() - truth)
            with torch.autocast("cpu", torch.bfloat16):
                fast = accelerate(model).keep_packed()
                found = [fast.forward_packed(torch.cat(docs), offsets([200, 90, 1, 130])) for _ in range(2)]
        assert torch.equal(*found)
        ours.append(found[0].double() - truth)
    assert torch.cat(ours).norm() <= torch.cat(stock).norm()
