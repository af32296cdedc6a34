"""Rounds repeat their act, sooner when woken, and no failure ends them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from postq.worker import rounds as rounds_module
from postq.worker.rounds import Rounds
from tests.waiting import wait_until


class Act:
    """Counts its calls and fails at the first ones."""

    def __init__(self, *, failures: int = 0) -> None:
        self.calls = 0
        self.failures = failures

    def __call__(self) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise RuntimeError("not yet")


@contextmanager
def running(act: Act, *, every_seconds: float) -> Iterator[Rounds]:
    rounds = Rounds("test", act, every_seconds=every_seconds)
    rounds.start()
    try:
        yield rounds
    finally:
        rounds.stop()


def test_the_first_round_comes_at_once_and_others_follow() -> None:
    act = Act()
    with running(act, every_seconds=0.01):
        wait_until(lambda: act.calls >= 3)


def test_a_wake_is_acted_on_before_the_next_round() -> None:
    act = Act()
    with running(act, every_seconds=10_000) as rounds:
        wait_until(lambda: act.calls == 1)
        rounds.wake()
        wait_until(lambda: act.calls == 2)


def test_failures_are_outlived(monkeypatch: pytest.MonkeyPatch) -> None:
    class Quick:
        def next_seconds(self) -> float:
            return 0.001

        def reset(self) -> None:
            pass

    monkeypatch.setattr(rounds_module, "Backoff", Quick)
    act = Act(failures=3)
    with running(act, every_seconds=0.01):
        wait_until(lambda: act.calls >= 5)


def test_stopping_ends_the_thread() -> None:
    with running(Act(), every_seconds=10_000):
        assert any(thread.name == "test" for thread in threading.enumerate())
    assert not any(thread.name == "test" for thread in threading.enumerate())
