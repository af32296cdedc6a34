"""A Triton kernel that is of no use but to be tried."""

import triton
import triton.language as tl


@triton.jit
def increase(numbers, COUNT: tl.constexpr):
    """Add one to COUNT numbers."""
    at = numbers + tl.arange(0, COUNT)
    tl.store(at, tl.load(at) + 1.0)
