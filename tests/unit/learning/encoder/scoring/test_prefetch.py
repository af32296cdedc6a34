"""Work is done ahead, in order, and ends when nobody wants it any more."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from postq.learning.encoder.scoring.prefetch import Prefetched


def test_results_come_in_order_and_once() -> None:
    assert list(Prefetched(range(100), lambda x: x * x, ahead=3)) == [x * x for x in range(100)]


def test_an_error_comes_after_the_results_before_it() -> None:
    def fail_at_two(x: int) -> int:
        if x == 2:
            raise ValueError("two")
        return x

    results = iter(Prefetched(range(5), fail_at_two, ahead=8))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)


def test_only_so_much_is_done_ahead(wait_until: Callable[..., Any]) -> None:
    begun: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1000):
            begun.append(number)
            yield number

    results = Prefetched(items(), lambda x: x, ahead=2)
    wait_until(lambda: len(begun) == 3, 10)  # nobody has asked for any yet
    assert next(iter(results)) == 0
    wait_until(lambda: len(begun) >= 4, 10)
    assert len(begun) <= 5
    results.close()


def test_closing_early_ends_the_thread() -> None:
    before = threading.active_count()
    results = Prefetched(range(1000), lambda x: x, ahead=1)
    next(iter(results))
    results.close()
    assert threading.active_count() == before
