"""Waiting for a condition with a deadline, instead of sleeping and hoping."""

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def wait_until(
    condition: Callable[[], Answer],
    timeout: float = 60.0,
    *,
    every: float = 0.02,
    saying: str = "",
) -> Answer:
    """The first true answer of `condition`, asked `every` seconds; AssertionError after `timeout` seconds.

    An AssertionError inside `condition` counts as "not yet", so that it may be written as asserts.
    """
    deadline = time.monotonic() + timeout
    last: object = None
    while True:
        try:
            if answer := condition():
                return answer
            last = answer
        except AssertionError as exc:
            last = exc
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {saying or condition} (last: {last!r})")
        time.sleep(every)
