"""The compiled kernel against the slow softmax in float64, and what it promises beyond right answers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from postq.learning.longformer import native
from postq.learning.longformer.banded import banded_attention
from postq.learning.longformer.native import native_attention, serves, why_no_native
from tests.unit.learning.longformer.reference import slow_local_attention, stream

runs_here = pytest.mark.skipif(why_no_native() is not None, reason=str(why_no_native()))

LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=4)
WINDOWS = st.integers(1, 80).map(lambda half: 2 * half)
WIDTHS = st.sampled_from([16, 32, 48, 64, 112, 128])


def tensors(tokens, documents, *, heads=2, width=16, sharpness=1.0):
    parts = [torch.randn(tokens, heads, width) for _ in range(3)]
    parts[0] *= sharpness
    return [*parts, torch.randn(documents, heads, width)]


def answers(attend, parts, batch, window, weights):
    """(answer, gradients of a weighted sum of it by every part)"""
    leaves = [part.detach().clone().requires_grad_() for part in parts]
    answer = attend(*leaves, batch, window=window)
    return [answer.detach(), *torch.autograd.grad((answer * weights.to(answer.dtype)).sum(), leaves)]


def slow(query, key, value, rows, batch, *, window):
    answer = slow_local_attention(query, key, value, batch, window)
    return answer.index_copy(0, batch.first_index, rows)


def exact(parts, batch, window, weights):
    return answers(slow, [part.double() for part in parts], batch, window, weights)


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
    batch, alone = stream([900, 1300, 40]), stream([1300])
    parts = tensors(batch.tokens, 3, width=32)
    weights = torch.randn(batch.tokens, 2, 32)
    own = [*(part[900:2200] for part in parts[:3]), parts[3][1:2]]
    together = answers(native_attention, parts, batch, 512, weights)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        by_itself = answers(native_attention, own, alone, 512, weights[900:2200])
    finally:
        torch.set_num_threads(before)
    for shared, single in zip(together[:4], by_itself, strict=False):
        assert torch.equal(shared[900:2200], single)


@runs_here
def test_nan_is_never_swallowed():
    batch = stream([300])
    for place in range(3):
        parts = tensors(300, 1)
        parts[place][150, 1, 3] = torch.nan
        with torch.no_grad():
            found = native_attention(*parts, batch, window=8)
        assert found[150, 1, 3].isnan()
        assert found[150, 1].isnan().all() or place == 2
        assert found[:, 0].isfinite().all()


@runs_here
def test_scores_far_apart_neither_overflow_nor_vanish():
    batch = stream([40])
    query, key, value, rows = tensors(40, 1)
    key[7] = 400 * query[20]
    with torch.no_grad():
        found = native_attention(query, key, value, rows, batch, window=64)
    torch.testing.assert_close(found[20], value[7])


@pytest.mark.parametrize(
    ("part", "served"),
    [
        (torch.empty(4, 2, 64), True),
        (torch.empty(4, 2, 16), True),
        (torch.empty(4, 2, 8), False),
        (torch.empty(4, 2, 144), False),
        (torch.empty(4, 2, 64, dtype=torch.float64), False),
        (torch.empty(4, 2, 64, dtype=torch.bfloat16), False),
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
