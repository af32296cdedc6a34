"""What this machine does well, asked of the machine itself: how many threads, and how fast bfloat16 is."""

import os
import time
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch.nn.functional import linear

_ROWS, _NARROW, _WIDE = 512, 768, 3_072
"""One feed-forward chunk of a base-size encoder: what most of the time goes into."""


def fastest_threads(candidates: Sequence[int] | None = None) -> int:
    """The number of compute threads that multiplies fastest here and now, by the clock.

    By default 1 and the powers of two up to the cores this process may use, and all of them. On a machine
    that is busy with other work fewer threads can win. Leaves the thread count as it was. Takes about 0.1 s.
    """
    before = torch.get_num_threads()
    tried = candidates or _candidates(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    seconds = {}
    try:
        for threads in tried:
            torch.set_num_threads(threads)
            seconds[threads] = _seconds(_product(torch.float32))
    finally:
        torch.set_num_threads(before)
    return min(seconds, key=lambda threads: (seconds[threads], threads))


@cache
def bfloat16_speedup() -> float:
    """How many times faster than float32 a CPU product in bfloat16 is; under 1 without AVX512_BF16 or AMX."""
    return _seconds(_product(torch.float32)) / _seconds(_product(torch.bfloat16))


def _candidates(cores: int) -> list[int]:
    doublings = [1 << power for power in range(cores.bit_length()) if 1 << power <= cores]
    return sorted({*doublings, cores})


def _product(dtype: torch.dtype) -> Callable[[], object]:
    own = torch.Generator().manual_seed(0)  # a measurement must not move the random state of a training
    states, weight = (torch.randn(rows, _NARROW, generator=own).to(dtype) for rows in (_ROWS, _WIDE))
    return lambda: linear(states, weight)


def _seconds(work: Callable[[], object], *, repeats: int = 5) -> float:
    """Fewest seconds of several runs after one to warm up: the least disturbed one."""
    best = float("inf")
    with torch.no_grad():
        work()
        for _ in range(repeats):
            start = time.perf_counter()
            work()
            best = min(best, time.perf_counter() - start)
    return best
