"""The compiled kernel against the slow softmax in float64, and what it promises beyond right answers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from postq.learning.longformer import native
from postq.learning.longformer.banded import banded_attention
from postq.learning.longformer.native import native_attention, serves, why_no_native
from tests.unit.learning.longformer.attention_cases import (
    answers,
    answers_of_one_draw,
    check_nan_shows,
    check_same_bits_alone,
    check_scores_far_apart,
    dropped_shares,
    exact,
    slow,
    tensors,
)
from tests.unit.learning.longformer.reference import stream
from tests.unit.learning.longformer.torch_settings import SETTINGS, set_meanwhile

runs_here = pytest.mark.usefixtures("any_build")

LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=4)
WINDOWS = st.integers(1, 80).map(lambda half: 2 * half)
WIDTHS = st.sampled_from([16, 32, 48, 64, 112, 128])


@runs_here
@given(lengths=LENGTHS, window=WINDOWS, width=WIDTHS, sharpness=st.sampled_from([0.3, 1.0, 6.0]))
@settings(max_examples=60, deadline=None)
def test_answers_and_gradients_equal_the_slow_softmax(lengths, window, width, sharpness):
    batch = stream(lengths)
    parts = tensors(batch.tokens, len(lengths), width=width, sharpness=sharpness)
    weights = torch.randn(batch.tokens, 2, width)
    found = answers(native_attention, parts, batch, window, weights)
    for ours, truth in zip(found, exact(parts, batch, window, weights), strict=True):
        assert (ours - truth).norm() <= 2e-6 * (1 + sharpness) * truth.norm() + 1e-5
    with torch.no_grad():
        assert torch.equal(native_attention(*parts, batch, window=window), found[0])


@runs_here
@pytest.mark.parametrize(("lengths", "window"), [([1600], 64), ([505, 1, 506, 1012], 2), ([1300, 700], 1400)])
def test_documents_of_several_chunks_err_no_more_than_the_flash_kernel(lengths, window):
    torch.manual_seed(2)
    batch = stream(lengths)
    parts, weights = tensors(batch.tokens, len(lengths), width=64), torch.randn(batch.tokens, 2, 64)
    truth = exact(parts, batch, window, weights)
    ours, theirs = (
        [(part - whole).norm() for part, whole in zip(answers(attend, *rest), truth, strict=True)]
        for attend, rest in ((kernel, (parts, batch, window, weights)) for kernel in KERNELS)
    )
    for error, flash in zip(ours, theirs, strict=True):
        assert error <= 1.5 * flash + 1e-6


KERNELS = (native_attention, banded_attention)


@runs_here
def test_strided_views_of_one_projection_are_read_in_place():
    batch = stream([700, 1, 90])
    fused, rows = torch.randn(batch.tokens, 3, 2, 32), torch.randn(3, 2, 32)
    with torch.no_grad():
        found = native_attention(*fused.unbind(1), rows, batch, window=64)
    torch.testing.assert_close(found, slow(*fused.unbind(1), rows, batch, window=64), atol=1e-5, rtol=1e-5)


@runs_here
@pytest.mark.parametrize("threads", [1, 3])
def test_a_document_is_the_same_to_the_last_bit_alone_in_company_and_on_any_number_of_threads(threads):
    check_same_bits_alone(tensors(2240, 3, width=32), torch.randn(2240, 2, 32), threads=threads)


@runs_here
@pytest.mark.parametrize(("lengths", "window"), [([100], 24), ([1, 60, 40], 200)])
def test_gradients_under_dropout_are_those_of_the_same_draw(lengths, window):
    batch = stream(lengths)
    parts, weights = tensors(batch.tokens, len(lengths), width=32), torch.randn(batch.tokens, 2, 32)
    found, truth = answers_of_one_draw(parts, batch, window, weights)
    for ours, exact_one in zip(found, truth, strict=True):
        assert (ours - exact_one).norm() <= 1e-5 * exact_one.norm() + 1e-5


@runs_here
def test_dropout_drops_its_share_of_every_head_row_and_draw_anew():
    batch = stream([128])
    query, key, _, _ = tensors(128, 1, heads=3)
    shares = dropped_shares(query * 0, key, batch, window=400, dropout=0.25, seed=1)
    other = dropped_shares(query * 0, key, batch, window=400, dropout=0.25, seed=2)
    again = dropped_shares(query * 0, key, batch, window=400, dropout=0.25, seed=1)
    kept, of_other = (shares > 0)[1:].float(), (other > 0)[1:].float()
    assert torch.equal(shares, again)
    torch.testing.assert_close(shares[shares > 0], torch.full_like(shares[shares > 0], 1 / 128 / 0.75))
    few = 5 * (0.25 * 0.75 / kept.numel()) ** 0.5
    assert (kept.mean() - 0.75).abs() <= few
    neighbours = (kept[1:], kept[:-1]), (kept[..., 1:], kept[..., :-1])
    for one, two in ((kept, of_other), (kept[:, 0], kept[:, 1]), *neighbours):
        alike = torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1]
        assert alike.abs() <= 5 * one.numel() ** -0.5


@runs_here
def test_dropout_far_from_the_first_token_keeps_the_expected_attention():
    batch = stream([700])
    parts = tensors(700, 1)
    with torch.no_grad():
        draws = torch.stack(
            [native_attention(*parts, batch, window=16, dropout=0.2).clone() for _ in range(400)]
        )
    spread = draws.std(0) / 20
    off = (draws.mean(0) - slow(*parts, batch, window=16)).abs()
    assert (off <= 6 * spread + 1e-6).all()
    assert spread[1:].min() > 0


@runs_here
def test_nan_is_never_swallowed():
    check_nan_shows()


@runs_here
def test_scores_far_apart_neither_overflow_nor_vanish():
    check_scores_far_apart()


@pytest.mark.parametrize(
    ("part", "served"),
    [
        (torch.empty(4, 2, 64), True),
        (torch.empty(4, 2, 16), True),
        (torch.empty(4, 2, 8), False),
        (torch.empty(4, 2, 144), False),
        (torch.empty(4, 2, 64, dtype=torch.float64), False),
        (torch.empty(4, 2, 64, dtype=torch.bfloat16), True),
        (torch.empty(4, 2, 64, dtype=torch.float16), False),
        (torch.empty(4, 2, 64, device="meta"), False),
    ],
)
def test_other_widths_formats_and_devices_are_left_to_other_kernels(part, served):
    assert serves(part) == served


@pytest.fixture
def fresh_reason():
    why_no_native.cache_clear()
    yield
    why_no_native.cache_clear()


@pytest.mark.usefixtures("fresh_reason")
def test_without_the_compiled_functions_it_says_why(monkeypatch):
    monkeypatch.setattr(native, "why_not_compiled", lambda: "they were not built")
    assert why_no_native() == "they were not built"


@pytest.mark.usefixtures("fresh_reason")
@runs_here
def test_a_kernel_that_answers_otherwise_than_the_flash_kernel_is_not_used(monkeypatch):
    monkeypatch.setattr(native, "_forward", lambda *arguments: arguments[3].zero_())
    assert why_no_native() == "the compiled kernel disagrees with the flash kernel on this machine"


@pytest.mark.usefixtures("fresh_reason")
@runs_here
@pytest.mark.parametrize("told", SETTINGS)
def test_a_callers_settings_of_torch_do_not_make_it_seem_to_disagree(told):
    with set_meanwhile(told):
        assert why_no_native() is None


@runs_here
def test_what_is_dropped_is_drawn_on_the_cpu_whatever_the_default_device():
    batch, found = stream([40]), []
    parts = tensors(40, 1)
    for device in ("cpu", "meta"):
        torch.manual_seed(3)
        with torch.device(device), torch.no_grad():
            found.append(native_attention(*parts, batch, window=8, dropout=0.5).clone())
    assert torch.equal(*found)
