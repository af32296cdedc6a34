"""What tests of attention kernels share: tensors, gradients, and what a kernel owes in any number format."""

import torch

from postq.learning.longformer.native import native_attention
from tests.unit.learning.longformer.reference import slow_local_attention, stream


def tensors(tokens, documents, *, heads=2, width=16, sharpness=1.0, dtype=torch.float32):
    """Query, key, value (tokens, heads, width) and the rows of global tokens (documents, heads, width)."""
    parts = [torch.randn(tokens, heads, width) for _ in range(3)]
    parts[0] *= sharpness
    return [part.to(dtype) for part in (*parts, torch.randn(documents, heads, width))]


def answers(attend, parts, batch, window, weights):
    """(answer, gradients of a weighted sum of it by every part)"""
    leaves = [part.detach().clone().requires_grad_() for part in parts]
    answer = attend(*leaves, batch, window=window)
    return [answer.detach(), *torch.autograd.grad(answer, leaves, weights.to(answer.dtype))]


def slow(query, key, value, rows, batch, *, window):
    """The reference in the arguments' own number format."""
    answer = slow_local_attention(query, key, value, batch, window)
    return answer.index_copy(0, batch.first_index, rows)


def exact(parts, batch, window, weights):
    """`answers` of the reference in float64."""
    return answers(slow, [part.double() for part in parts], batch, window, weights)


def dropped_shares(query, key, batch, *, window, dropout, seed):
    """(tokens, heads, tokens) probabilities after dropout, read off one-hot values; at most 128 tokens."""
    tokens, heads, _ = query.shape
    value = torch.eye(tokens, 128, dtype=query.dtype)[:, None, :].expand(tokens, heads, 128)
    wide = [torch.nn.functional.pad(part, (0, 128 - part.shape[-1])) for part in (query, key)]
    wide[0] = wide[0] * (128 / query.shape[-1]) ** 0.5  # the kernel divides by the root of the width
    torch.manual_seed(seed)
    rows = torch.zeros(len(batch.spans), heads, 128, dtype=query.dtype)
    with torch.no_grad():
        found = native_attention(*wide, value, rows, batch, window=window, dropout=dropout)
    return found[..., :tokens].clone()


def answers_of_one_draw(parts, batch, window, weights):
    """`answers` under dropout of 0.3, and those of the reference with the same probabilities dropped."""
    kept = dropped_shares(*parts[:2], batch, window=window, dropout=0.3, seed=5) > 0

    def seeded(*parts, window):
        torch.manual_seed(5)
        return native_attention(*parts, window=window, dropout=0.3)

    def same_draw(query, key, value, rows, batch, *, window):
        one_hot = torch.eye(batch.tokens, dtype=query.dtype)[:, None, :].expand(-1, parts[0].shape[1], -1)
        shares = slow_local_attention(query, key, one_hot, batch, window)
        answer = torch.einsum("qhk,khd->qhd", shares * kept / 0.7, value)
        return answer.index_copy(0, batch.first_index, rows)

    found = answers(seeded, parts, batch, window, weights)
    return found, answers(same_draw, [part.double() for part in parts], batch, window, weights)


def check_same_bits_alone(parts, weights, *, threads):
    """The second of documents of 900, 1,300 and 40 tokens is the same on so many threads by itself."""
    batch, alone = stream([900, 1300, 40]), stream([1300])
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


def check_nan_shows(**other):
    """NaN in a query, key or value is in the answers it reaches, and in no other head's."""
    batch = stream([300])
    for place in range(3):
        parts = tensors(300, 1, **other)
        parts[place][150, 1, 3] = torch.nan
        with torch.no_grad():
            found = native_attention(*parts, batch, window=8)
        assert found[150, 1, 3].isnan()
        assert found[150, 1].isnan().all() or place == 2
        assert found[:, 0].isfinite().all()


def check_scores_far_apart(**other):
    """One score far above all others neither overflows nor makes it vanish."""
    query, key, value, rows = tensors(40, 1, **other)
    key[7] = 400 * query[20]
    with torch.no_grad():
        found = native_attention(query, key, value, rows, stream([40]), window=64)
    torch.testing.assert_close(found[20], value[7])
