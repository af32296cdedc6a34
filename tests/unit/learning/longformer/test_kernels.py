"""Every attention kernel against a slow softmax over all pairs, in float64, with its gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from postq.learning.longformer.banded import banded_attention
from postq.learning.longformer.dropped import dropped_attention
from postq.learning.longformer.gathered import gathered_attention
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
