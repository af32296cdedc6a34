"""The clocks of bulk scoring add up what they are told, and pass everything on."""

from types import SimpleNamespace

import pytest

from postq.learning.encoder.scoring import clocks
from postq.learning.encoder.scoring.clocks import ScoringClocks


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that the test moves."""
    at = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(clocks.time, "perf_counter", lambda: at.seconds)
    monkeypatch.setattr(clocks.time, "thread_time", lambda: at.seconds)
    return at


def test_only_the_time_until_a_window_is_there_is_waiting(now: SimpleNamespace) -> None:
    def windows():  # type: ignore[no-untyped-def]
        for window in "ab":
            now.seconds += 2
            yield window

    found = ScoringClocks(started=0.0)
    seen = []
    for window in found.waited_for(windows()):
        seen.append(window)
        for _ in found.computed([1, 2, 3]):
            now.seconds += 10  # handed on
    with found.tokenising():
        now.seconds += 5
    for _ in range(2):
        with found.called():
            now.seconds += 1
    found.count([7, 9])
    assert seen == ["a", "b"]
    assert found.facts() == {
        "documents": 2,
        "tokens": 16,
        "batches": 2,
        "seconds": 71.0,
        "waiting_seconds": 4.0,
        "computing_seconds": 0.0,
        "calling_seconds": 2.0,
        "tokenising_cpu_seconds": 5.0,
    }
