"""Whether Triton can start a kernel on a device: it builds what starts them there, with a C compiler."""

from functools import cache

import torch

from postq.learning.longformer.gpu.trial_kernels import increase

COUNT = 16
REGISTERS = 128
"""The bound that the window kernel sets, which Triton does not know for every maker's cards."""


@cache
def why_no_kernel(device: torch.device) -> str | None:
    """None where a small kernel does what it should, or what stood in its way."""
    numbers = torch.zeros(COUNT, device=device)
    try:
        with torch.cuda.device_of(numbers):  # type: ignore[no-untyped-call]
            increase[(1,)](numbers, COUNT=COUNT, maxnreg=REGISTERS)
        right = bool((numbers == 1.0).all())
    except Exception as exc:  # of a compiler, a driver, a file system: all of them mean another kernel
        return f"Triton cannot start a kernel here ({_one_line(exc)})"
    return None if right else "Triton's kernels give wrong numbers here"


def _one_line(exc: Exception) -> str:
    told = str(exc).strip().splitlines()
    return f"{type(exc).__name__}: {told[0]}" if told else type(exc).__name__
