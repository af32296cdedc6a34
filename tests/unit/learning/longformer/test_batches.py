"""Token-budget batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postq.errors import BadInput
from postq.learning.longformer import best_token_budget, plan_batches


@given(st.lists(st.integers(1, 5000), max_size=200), st.integers(1, 9000))
def test_every_document_is_in_one_batch_within_the_budget(lengths, budget):
    plan = plan_batches(lengths, budget)
    assert sorted(index for batch in plan for index in batch) == list(range(len(lengths)))
    for batch in plan:
        assert sum(lengths[index] for index in batch) <= budget or len(batch) == 1


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=200))
def test_the_longest_documents_come_first(lengths):
    order = [lengths[index] for batch in plan_batches(lengths, 8000) for index in batch]
    assert order == sorted(lengths, reverse=True)


@pytest.mark.parametrize(("lengths", "budget"), [([3, 0], 10), ([3], 0)])
def test_empty_documents_and_budgets_are_refused(lengths, budget):
    with pytest.raises(BadInput, match="must be positive"):
        plan_batches(lengths, budget)


def test_no_documents_need_no_batches():
    assert plan_batches([], 100) == []


def test_unknown_devices_get_the_cpu_budget():
    assert best_token_budget("xpu") == best_token_budget("cpu")


def test_what_is_kept_for_gradients_takes_no_larger_batches():
    assert best_token_budget("cuda", training=True) < best_token_budget("cuda")
    assert best_token_budget("cpu", training=True) == best_token_budget("cpu")
