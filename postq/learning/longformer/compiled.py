"""The compiled functions for CPUs, where this installation and this processor have them.

Their source is in `native/`. It is built with postq where there is a C compiler for x86-64: for float32 with
AVX-512 and with AVX2, of which a processor gets the wider one that it runs, and for attention in bfloat16
with AMX.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Protocol, cast

import torch
from numpy import float32, int16
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[float32]
Numbers = NDArray[float32] | NDArray[int16]
"""float32, or the bits of bfloat16."""
BUILDS = ("_avx512", "_avx2")
"""The modules of this package for float32 that may be there, the fastest first."""
NARROW_BUILDS = ("_amx",)
"""Those for attention in bfloat16."""


class Attention(Protocol):
    """What each build offers. Arrays that do not fit are refused with a ValueError before any is read."""

    def available(self) -> bool:
        """Whether this processor runs them."""

    def attend(
        self,
        query: Numbers,
        key: Numbers,
        value: Numbers,
        output: Numbers,
        lse: Floats | None,
        bounds: tuple[int, ...],
        reach: int,
        threads: int,
        dropout: float,
        seed: int,
        /,
    ) -> None:
        """Write the answers and log-sum-exps of every token but the first of each document."""

    def attend_backward(
        self,
        query: Numbers,
        key: Numbers,
        value: Numbers,
        output: Numbers,
        lse: Floats,
        gradient: Numbers,
        query_gradient: Floats,
        key_gradient: Floats,
        value_gradient: Floats,
        bounds: tuple[int, ...],
        reach: int,
        threads: int,
        dropout: float,
        seed: int,
        /,
    ) -> None:
        """Write the queries' gradients, and add to those of keys and values."""


class Functions(Attention, Protocol):
    """What those for float32 offer besides."""

    lanes: int
    """Floats in a vector."""
    panel: int
    """Outputs whose weights lie side by side in a packed weight."""

    def drop(
        self,
        update: Numbers,
        added: Floats | None,
        output: Numbers,
        dropout: float,
        seed: int,
        threads: int,
        /,
    ) -> None:
        """Write what dropout leaves of `update`, plus `added`: consecutive numbers, the same for a seed."""

    def pack(self, weight: Floats, packed: Floats, threads: int, /) -> None:
        """Write a (out, in) weight in panels, the last one filled up with zeros."""

    def multiply(
        self,
        states: Floats,
        packed: Floats,
        bias: Floats | None,
        output: Floats,
        add: bool,  # noqa: FBT001
        threads: int,
        /,
    ) -> None:
        """Write states · weightᵀ + bias, or add it to what stands in `output`."""


def load_builds(names: Sequence[str] = BUILDS) -> tuple[list[Functions], ImportError | None]:
    """The builds that this installation has, and the error of the last one that is broken."""
    found: list[Functions] = []
    broken = None
    for name in names:
        try:
            found.append(cast(Functions, import_module(f"postq.learning.longformer.{name}")))
        except ModuleNotFoundError:  # postq was installed without a C compiler
            continue
        except ImportError as error:  # say for want of the OpenMP library
            broken = error
    return found, broken


def first_available(builds: Sequence[Functions]) -> Functions | None:
    """The first that this processor runs."""
    return next((build for build in builds if build.available()), None)


_builds, _broken = load_builds()
compiled = cast(Functions, first_available(_builds))  # None is asked for through `why_not_compiled` alone
_narrow_builds, _narrow_broken = load_builds(NARROW_BUILDS)
compiled_narrow = cast(Attention, first_available(_narrow_builds))


def why_not_compiled() -> str | None:
    """Why this machine does not run the compiled functions for float32, or None if it does."""
    if compiled is not None:
        return None
    return _why_not(_builds, _broken, "AVX2 or AVX-512")


def why_not_compiled_narrow() -> str | None:
    """Why it does not run those for bfloat16, or None if it does."""
    if compiled_narrow is not None:
        return None
    return _why_not(_narrow_builds, _narrow_broken, "AMX, on Linux")


def _why_not(builds: Sequence[Functions], broken: ImportError | None, needs: str) -> str:
    if broken is not None:
        return f"the compiled kernels cannot be loaded ({broken})"
    if not builds:
        return "the compiled kernels were not built when postq was installed"
    return f"the compiled kernels need a processor with {needs}"


@contextmanager
def float32_on_cpu() -> Iterator[None]:
    """Whatever autocast and default device the caller has set, for the trials before first use.

    Tensors made meanwhile have to name their dtype: torch has no default dtype for one thread alone.
    """
    with torch.autocast("cpu", enabled=False), torch.device("cpu"):
        yield


def as_array(part: Tensor) -> Floats:
    """The same memory, for them to read or write."""
    array: Floats = part.detach().numpy()
    return array


def as_numbers(part: Tensor) -> Numbers:
    """The same of float32 or, as the bits that NumPy has no name for, of bfloat16."""
    return as_array(part) if part.dtype == torch.float32 else part.detach().view(torch.int16).numpy()
