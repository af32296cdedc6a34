"""Every attention kernel against a slow softmax over all pairs, in float64, with its gradients."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._dynamo.testing import CompileCounter
from torch.nn.attention.flex_attention import flex_attention

from postq.learning.longformer import flex, varlen
from postq.learning.longformer.banded import banded_attention
from postq.learning.longformer.dropped import dropped_attention
from postq.learning.longformer.flex import flex_attention_stream, sparse_blocks
from postq.learning.longformer.gathered import gathered_attention
from postq.learning.longformer.varlen import varlen_attention
from tests.unit.learning.longformer.reference import slow_local_attention, stream

LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=4)
WINDOWS = st.integers(1, 80).map(lambda half: 2 * half)


def tensors(tokens, documents, *, gradients=False):
    parts = [torch.randn(tokens, 2, 4, dtype=torch.float64) for _ in range(3)]
    rows = torch.randn(documents, 2, 4, dtype=torch.float64)
    return [part.requires_grad_(gradients) for part in (*parts, rows)]


def expected(query, key, value, rows, batch, window):
    """The slow answer with the rows of the global first tokens put in."""
    answer = slow_local_attention(query, key, value, batch, window)
    return answer.index_copy(0, batch.first_index, rows)


def slow_flash(query, key, value, bounds, bounds_k, longest, longest_k, *rest, scale, **window):
    """What torch's variable-length flash forward computes: local attention and its log-sum-exp."""
    del bounds_k, longest, longest_k, rest
    reach = window["window_size_left"]
    scores = masked_scores(query, key, bounds, reach, scale)
    output = torch.einsum("hqk,khd->qhd", scores.softmax(-1), value)
    return output, scores.logsumexp(-1), torch.empty(0), torch.empty(0), torch.empty(0)


def slow_flash_backward(gradient, query, key, value, output, sums, bounds, *rest, scale, **window):
    """What the flash backward computes from an output and a log-sum-exp, whatever they were merged with."""
    del rest
    scores = masked_scores(query, key, bounds, window["window_size_left"], scale)
    shares = torch.exp(scores - sums[..., None])
    dots = (gradient * output).sum(-1).T[..., None]
    pull = shares * (torch.einsum("qhd,khd->hqk", gradient, value) - dots) * scale
    of_query = torch.einsum("hqk,khd->qhd", pull, key)
    of_key = torch.einsum("hqk,qhd->khd", pull, query)
    return of_query, of_key, torch.einsum("hqk,qhd->khd", shares, gradient)


def masked_scores(query, key, bounds, reach, scale):
    owner = torch.bucketize(torch.arange(len(query)), bounds[1:].long(), right=True)
    index = torch.arange(len(query))
    meets = (owner[:, None] == owner) & ((index[:, None] - index).abs() <= reach)
    scores = torch.einsum("qhd,khd->hqk", query, key) * scale
    return scores.masked_fill(~meets, float("-inf"))


def patch_kernel(patch):
    """The variable-length kernel's arithmetic on the CPU, so that the merging around it can be tested."""
    patch.setattr(varlen, "_forward", slow_flash)
    patch.setattr(varlen, "_backward", slow_flash_backward)
    patch.setattr(torch.Tensor, "float", torch.Tensor.double)


@given(lengths=LENGTHS, window=WINDOWS)
@settings(max_examples=60, deadline=None)
def test_banded_blocks_equal_the_slow_softmax(lengths, window):
    batch = stream(lengths)
    parts = tensors(batch.tokens, len(lengths))
    with torch.no_grad():
        found = banded_attention(*parts, batch, window=window)
    torch.testing.assert_close(found, expected(*parts, batch, window))


@given(lengths=LENGTHS, window=WINDOWS)
@settings(max_examples=30, deadline=None)
def test_banded_gradients_equal_those_of_the_slow_softmax(lengths, window):
    batch = stream(lengths)
    parts = tensors(batch.tokens, len(lengths), gradients=True)
    weights = torch.randn(batch.tokens, 2, 4, dtype=torch.float64)
    found = torch.autograd.grad((banded_attention(*parts, batch, window=window) * weights).sum(), parts)
    slow = torch.autograd.grad((expected(*parts, batch, window) * weights).sum(), parts)
    for ours, theirs in zip(found, slow, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("lengths", [[700], [1, 300, 2, 129, 1]])
def test_banded_blocks_read_strided_views_of_one_projection(lengths):
    batch = stream(lengths)
    fused = torch.randn(batch.tokens, 3, 2, 4, dtype=torch.float64)
    rows = torch.randn(len(lengths), 2, 4, dtype=torch.float64)
    with torch.no_grad():
        found = banded_attention(*fused.unbind(1), rows, batch, window=64)
    torch.testing.assert_close(found, expected(*fused.unbind(1), rows, batch, 64))


@st.composite
def marked_streams(draw):
    """Lengths and, for each document, any set of global positions, the empty one too."""
    lengths = draw(LENGTHS)
    marks = [sorted(draw(st.sets(st.integers(0, length - 1), max_size=4))) for length in lengths]
    return lengths, marks


@given(marked=marked_streams(), window=WINDOWS)
@settings(max_examples=60, deadline=None)
def test_gathered_blocks_equal_the_slow_softmax_whatever_tokens_are_global(marked, window):
    batch = stream(*marked)
    query, key, value, _ = tensors(batch.tokens, 1)
    found = gathered_attention(query, key, value, batch, window=window)
    torch.testing.assert_close(found, slow_local_attention(query, key, value, batch, window))


@given(marked=marked_streams(), window=WINDOWS)
@settings(max_examples=25, deadline=None)
def test_flex_equals_the_slow_softmax_whatever_tokens_are_global(marked, window):
    batch = stream(*marked)
    query, key, value, _ = (part.float() for part in tensors(batch.tokens, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on a CPU it says that it is not compiled
        found = flex_attention_stream(query, key, value, batch, window=window)
    slow = slow_local_attention(query, key, value, batch, window)
    torch.testing.assert_close(found, slow, atol=2e-5, rtol=2e-5)


@given(marked=marked_streams(), window=st.sampled_from([2, 100, 256, 512]))
@settings(max_examples=40, deadline=None)
def test_sparse_blocks_name_every_pair_that_meets_and_no_full_block_has_a_gap(marked, window):
    lengths, marks = [3 * length for length in marked[0]], marked[1]
    batch = stream(lengths, marks)
    some, full = sparse_blocks(batch, window // 2)
    pairs = allowed_pairs(batch, window)
    spare = -batch.tokens % 128
    tiles = torch.nn.functional.pad(pairs, (0, spare, 0, spare)).unfold(0, 128, 128).unfold(1, 128, 128)
    assert not (tiles.flatten(2).any(2) & ~some).any()
    assert not (full & ~tiles.flatten(2).all(2)).any()


def allowed_pairs(batch, window):
    """Which pairs the slow attention lets meet, read from its weights on one-hot values."""
    value = torch.eye(batch.tokens)[:, None, :]
    zeros = torch.zeros(batch.tokens, 1, 1)
    shares = slow_local_attention(zeros, zeros, value, batch, window)
    return shares[:, 0] > 0


@given(lengths=LENGTHS, window=WINDOWS)
@settings(max_examples=25, deadline=None)
def test_variable_length_merging_and_its_gradients_equal_the_slow_softmax(lengths, window):
    batch = stream(lengths)
    parts = tensors(batch.tokens, len(lengths), gradients=True)
    weights = torch.randn(batch.tokens, 2, 4, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch_kernel(patch)
        answer = varlen_attention(*parts, batch, window=window)
        found = torch.autograd.grad((answer * weights).sum(), parts, allow_unused=True)
    wanted = expected(*parts, batch, window)
    torch.testing.assert_close(answer, wanted)
    slow = torch.autograd.grad((wanted * weights).sum(), parts)
    for ours, theirs in zip(found, slow, strict=True):
        torch.testing.assert_close(torch.zeros_like(theirs) if ours is None else ours, theirs)


def test_gathered_dropout_keeps_the_expected_attention():
    batch = stream([40])
    query, key, value, _ = tensors(40, 1)
    draws = [gathered_attention(query, key, value, batch, window=16, dropout=0.2) for _ in range(3000)]
    wanted = slow_local_attention(query, key, value, batch, 16)
    assert not torch.allclose(draws[0], draws[1])
    torch.testing.assert_close(torch.stack(draws).mean(0), wanted, atol=0.06, rtol=0.0)


@given(lengths=LENGTHS, window=WINDOWS)
@settings(max_examples=25, deadline=None)
def test_dropped_blocks_without_a_drop_equal_the_slow_softmax_and_its_gradients(lengths, window):
    batch = stream(lengths)
    parts = tensors(batch.tokens, len(lengths), gradients=True)
    weights = torch.randn(batch.tokens, 2, 4, dtype=torch.float64)
    answer, wanted = (
        dropped_attention(*parts, batch, window=window, dropout=1e-9),
        expected(*parts, batch, window),
    )
    torch.testing.assert_close(answer, wanted)
    found = torch.autograd.grad((answer * weights).sum(), parts)
    slow = torch.autograd.grad((wanted * weights).sum(), parts)
    for ours, theirs in zip(found, slow, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("lengths", "window"), [([9, 4], 4), ([1, 6], 20)])
def test_gradients_under_dropout_are_those_of_the_same_draw(lengths, window):
    batch = stream(lengths)

    def seeded(*parts):
        torch.manual_seed(7)
        return dropped_attention(*parts, batch, window=window, dropout=0.4)

    assert torch.autograd.gradcheck(seeded, tensors(batch.tokens, len(lengths), gradients=True))


def test_dropped_blocks_keep_the_expected_attention_far_from_the_first_token():
    batch = stream([300])
    parts = tensors(300, 1)
    draws = torch.stack([dropped_attention(*parts, batch, window=16, dropout=0.2) for _ in range(400)])
    spread = draws.std(0) / 20
    off = (draws.mean(0) - expected(*parts, batch, 16)).abs()
    assert (off <= 6 * spread + 1e-12).all()
    assert spread[1:].min() > 0


def test_two_compiled_graphs_serve_streams_of_every_length_and_window(monkeypatch):
    """A graph per batch would reach torch's limit of recompilations within minutes."""
    counter = CompileCounter()
    compiled = torch.compile(flex_attention, fullgraph=True, backend=counter)
    monkeypatch.setattr(flex, "_kernel", lambda device: compiled)
    for lengths, window in (([300], 8), ([200, 350], 8), ([140], 32), ([129, 9, 400], 64), ([257], 8)):
        batch = stream(lengths)
        query, key, value, _ = (part.float() for part in tensors(batch.tokens, 1))
        with torch.no_grad():
            found = flex_attention_stream(query, key, value, batch, window=window)
        slow = slow_local_attention(query, key, value, batch, window)
        torch.testing.assert_close(found, slow, atol=2e-5, rtol=2e-5)
    assert counter.frame_count <= 2
