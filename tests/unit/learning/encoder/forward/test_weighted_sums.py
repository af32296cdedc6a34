"""Softmax-weighted sums over each document: many at once are what each gives alone, gradients too."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from postq.learning.encoder.forward import weighted_sums as module
from postq.learning.encoder.forward.weighted_sums import sums_one_by_one, sums_together

LENGTHS = [5, 1, 7, 3, 4]


def stream(lengths: list[int], *, labels: int = 3, scale: float = 1.0) -> tuple[Tensor, Tensor, list[int]]:
    """Scores, values and bounds."""
    generator = torch.Generator().manual_seed(sum(lengths))
    scores, values = torch.randn(2, sum(lengths), labels, dtype=torch.float64, generator=generator)
    bounds = [0]
    for length in lengths:
        bounds.append(bounds[-1] + length)
    return (scale * scores).requires_grad_(), values.requires_grad_(), bounds


@given(st.lists(st.integers(1, 30), min_size=1, max_size=140), st.sampled_from([1.0, 1e4]))
def test_many_documents_at_once_give_what_each_gives_alone(lengths: list[int], scale: float) -> None:
    scores, values, bounds = stream(lengths, scale=scale)
    torch.testing.assert_close(sums_together(scores, values, bounds), sums_one_by_one(scores, values, bounds))


@pytest.mark.parametrize("together", [1, 2, 64])
def test_gradients_are_the_same_however_many_share_a_product(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TOGETHER", together)
    scores, values, bounds = stream(LENGTHS)
    weighting = torch.randn(len(LENGTHS), 3, dtype=torch.float64)
    wanted = torch.autograd.grad(
        (sums_one_by_one(scores, values, bounds) * weighting).sum(), [scores, values]
    )
    found = torch.autograd.grad((sums_together(scores, values, bounds) * weighting).sum(), [scores, values])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", ["scores", "values", "every token"])
def test_what_is_not_finite_stays_with_its_document(wrong: float, where: str) -> None:
    scores, values, bounds = (part.detach() if isinstance(part, Tensor) else part for part in stream(LENGTHS))
    clean = sums_one_by_one(scores, values, bounds)
    start, stop = list(pairwise(bounds))[2]
    tokens = slice(start, stop) if where == "every token" else slice(start, start + 1)
    if where != "values":
        scores[tokens] = wrong
    if where != "scores":
        values[tokens] = wrong
    found = sums_together(scores, values, bounds)
    assert bool(found[2].isnan().all())
    others = [0, 1, 3, 4]
    torch.testing.assert_close(found[others], clean[others])


def test_sums_stay_float32_under_autocast() -> None:
    scores, values, bounds = (
        part.detach().float() if isinstance(part, Tensor) else part for part in stream(LENGTHS)
    )
    with torch.autocast("cpu", torch.bfloat16):
        found = sums_together(scores, values, bounds)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, sums_one_by_one(scores, values, bounds))
