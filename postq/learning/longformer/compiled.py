"""The compiled functions for CPUs, where this installation and this processor have them.

Their source is in `native/`. They are built with postq where there is a C compiler for x86-64, and need
AVX-512.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from numpy import float32
from numpy.typing import NDArray
from torch import Tensor

_broken: ImportError | None = None
try:
    import postq.learning.longformer._compiled as _compiled
except ModuleNotFoundError:  # postq was installed without a C compiler
    _compiled = None  # type: ignore[assignment]
except ImportError as error:  # say for want of the OpenMP library
    _compiled, _broken = None, error  # type: ignore[assignment]

compiled = _compiled


def why_not_compiled() -> str | None:
    """Why this machine does not run the compiled functions, or None if it does."""
    if _broken is not None:
        return f"the compiled kernels cannot be loaded ({_broken})"
    if compiled is None:
        return "the compiled kernels were not built when postq was installed"
    if not compiled.available():
        return "the compiled kernels need a processor with AVX-512"
    return None


@contextmanager
def float32_on_cpu() -> Iterator[None]:
    """Whatever autocast and default device the caller has set, for the trials before first use.

    Tensors made meanwhile have to name their dtype: torch has no default dtype for one thread alone.
    """
    with torch.autocast("cpu", enabled=False), torch.device("cpu"):
        yield


def takes(part: Tensor) -> bool:
    """True for a tensor that they can read: float32 on the CPU."""
    return part.device.type == "cpu" and part.dtype == torch.float32


def as_array(part: Tensor) -> NDArray[float32]:
    """The same memory, for them to read or write."""
    array: NDArray[float32] = part.detach().numpy()
    return array
