"""From an exception, or the way a runner died, to the failure class that decides about a retry."""

import errno
import signal
from collections.abc import Iterator
from pathlib import Path
from traceback import format_exception

from postq.contracts.failure import FailureClass
from postq.contracts.runner import Failed
from postq.errors import (
    BadInput,
    DeviceMemoryExhausted,
    DeviceOccupied,
    DeviceUnavailable,
    ExtraMissing,
    IntegrityError,
    LossNotFinite,
    NotFound,
    PostqError,
    RankLost,
    TokeniserLost,
)

MAX_TRACEBACK_CHARACTERS = 20_000
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FULL_IN_WORDS = ("no space left on device", "disk quota exceeded")
"""Of errors without a number: those of safetensors, and a rank's, which crosses processes as text."""
_DEVICE_OOM = (
    "cuda out of memory",
    "mps backend out of memory",
    "cuda error: out of memory",
    "status_alloc_failed",
)
"""The last is how the libraries of CUDA say it."""
_OOM_COUNTERS = ("/proc/vmstat", "/sys/fs/cgroup/memory.events")


def failed(exc: BaseException, *, out_of_memory_kills: int = 0) -> Failed:
    """The last message of a runner whose attempt raised `exc`.

    `out_of_memory_kills` is by how much the kernel's counter rose during the attempt, as in `class_of_exit`:
    a rank or a tokenising process that died counts as the runner it belonged to.
    """
    return Failed(
        failure=_class_of_death(exc, out_of_memory_kills) or failure_class(exc),
        message=sentence(exc),
        hint=exc.hint if isinstance(exc, PostqError) else "",
        traceback="".join(format_exception(exc))[-MAX_TRACEBACK_CHARACTERS:],
    )


def _class_of_death(exc: BaseException, out_of_memory_kills: int) -> FailureClass | None:
    """The class of a process of the runner's that died; None when none did."""
    if isinstance(exc, RankLost):
        return class_of_exit(exc.returncode, out_of_memory_kills=out_of_memory_kills)
    if isinstance(exc, TokeniserLost) and out_of_memory_kills > 0:
        return FailureClass.HOST_OOM
    return None


def failure_class(exc: BaseException) -> FailureClass:
    """The class of an exception, by the first of its causes that says something."""
    for cause in _causes(exc):
        found = _class_of_one(cause)
        if found is not None:
            return found
    return FailureClass.ERROR


def sentence(exc: BaseException) -> str:
    """One line for the job's row."""
    if isinstance(exc, PostqError):
        return exc.message
    first_line = (str(exc).strip() or "no message").splitlines()[0]
    return f"{type(exc).__name__}: {first_line}"


def class_of_exit(returncode: int, *, out_of_memory_kills: int) -> FailureClass:
    """The class of a runner that ended without a last word.

    `out_of_memory_kills` is by how much the kernel's counter rose since the attempt began: a SIGKILL
    while it rose is taken for the kernel's.
    """
    if returncode == -signal.SIGKILL and out_of_memory_kills > 0:
        return FailureClass.HOST_OOM
    return FailureClass.CRASH


def describe_exit(returncode: int) -> str:
    """How a process ended, in words."""
    if returncode >= 0:
        return f"The runner ended with exit code {returncode} and no result."
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"The runner was ended by {name}."


def out_of_memory_kills() -> int:
    """How many processes the kernel has killed for memory so far, here or in this container."""
    return max(map(_oom_count, _OOM_COUNTERS))


def _oom_count(path: str) -> int:
    try:
        lines = Path(path).read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """The exception, then what it was raised from, as far as it goes."""
    seen: set[int] = set()
    current: BaseException | None = exc
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _class_of_one(exc: BaseException) -> FailureClass | None:
    if isinstance(exc, MemoryError):
        return FailureClass.HOST_OOM
    if isinstance(exc, OSError) and exc.errno in _FULL:
        return FailureClass.DISK_FULL
    if isinstance(exc, DeviceOccupied):
        return FailureClass.DEVICE_FULL
    if isinstance(exc, DeviceUnavailable | ExtraMissing):
        return FailureClass.UNFIT
    if type(exc).__name__ == "OutOfMemoryError" or _mentions_device_oom(exc):
        return FailureClass.CUDA_OOM
    if isinstance(exc, IntegrityError):
        return FailureClass.INTEGRITY
    if isinstance(exc, TokeniserLost):  # by a document, perhaps: the shard is split until it is found
        return FailureClass.CRASH
    if isinstance(exc, LossNotFinite):
        return FailureClass.NAN_LOSS
    if isinstance(exc, BadInput | NotFound | DeviceMemoryExhausted):
        return FailureClass.BAD_INPUT
    text = str(exc).lower()
    return FailureClass.DISK_FULL if any(words in text for words in _FULL_IN_WORDS) else None


def _mentions_device_oom(exc: BaseException) -> bool:
    text = str(exc).lower()
    return isinstance(exc, RuntimeError) and any(phrase in text for phrase in _DEVICE_OOM)
