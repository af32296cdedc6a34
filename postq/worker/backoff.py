"""Waiting longer after each failure, with jitter, so that many workers do not return in step."""

import random


class Backoff:
    """Waits of one thing that keeps failing; `reset` when it works again."""

    def __init__(self, *, first_seconds: float = 0.5, longest_seconds: float = 15.0) -> None:
        self._first = first_seconds
        self._longest = longest_seconds
        self._failures = 0

    def next_seconds(self) -> float:
        """The next wait: doubled each time up to the longest, then between half and all of it at random."""
        whole = min(self._longest, self._first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return jittered(whole * 0.75, share=1 / 3)

    def reset(self) -> None:
        """It worked: the next failure waits the first time again."""
        self._failures = 0


def jittered(seconds: float, *, share: float = 0.25) -> float:
    """`seconds`, more or less `share` of it."""
    return seconds * random.uniform(1 - share, 1 + share)  # noqa: S311  (spreading load, not a secret)
