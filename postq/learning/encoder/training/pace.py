"""How fast documents go by: over the last minute or two, so that validations and other users show."""

import time
from collections import deque
from collections.abc import Callable

WINDOW_SECONDS = 120.0


class Pace:
    """Remembers when how many documents were done."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def after(self, done: int) -> float:
        """Documents a second up to now; 0 while there is nothing to tell it by."""
        now = self._clock()
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW_SECONDS:
            self._seen.popleft()
        since, before = self._seen[0]
        seconds = now - since
        return max(0, done - before) / seconds if seconds > 0 else 0.0
