"""Waits grow, have an end, and start over when things work again."""

from postq.worker.backoff import Backoff, jittered


def test_waits_double_up_to_the_longest_and_never_pass_it() -> None:
    backoff = Backoff(first_seconds=1, longest_seconds=8)
    waits = [backoff.next_seconds() for _ in range(50)]
    bounds = [1, 2, 4, 8, *[8] * 46]
    assert all(bound / 2 <= wait <= bound for wait, bound in zip(waits, bounds, strict=True))


def test_a_success_starts_over() -> None:
    backoff = Backoff(first_seconds=1, longest_seconds=100)
    for _ in range(10):
        backoff.next_seconds()
    backoff.reset()
    assert backoff.next_seconds() <= 1


def test_jitter_spreads_workers_apart() -> None:
    waits = {jittered(10) for _ in range(100)}
    assert len(waits) > 90
    assert all(7.5 <= wait <= 12.5 for wait in waits)
