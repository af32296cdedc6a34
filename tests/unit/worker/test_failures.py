"""Each way an attempt can end badly has its class, told from the exception or the exit status."""

import errno
import signal

import pytest

from postq.contracts.failure import FailureClass
from postq.errors import (
    BadInput,
    BundleUnusable,
    DeviceOccupied,
    DeviceUnavailable,
    DigestMismatch,
    ExtraMissing,
    LeakRefused,
    LossNotFinite,
    NotTrainable,
    PostqError,
    RankLost,
    StorageUnavailable,
    TokeniserLost,
)
from postq.worker.failures import class_of_exit, describe_exit, failed, failure_class, out_of_memory_kills


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own, which is not imported here."""


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (ValueError("no"), FailureClass.ERROR),
        (MemoryError(), FailureClass.HOST_OOM),
        (OutOfMemoryError("Tried to allocate 20 GiB"), FailureClass.CUDA_OOM),
        (RuntimeError("CUDA out of memory. Tried to allocate"), FailureClass.CUDA_OOM),
        (RuntimeError("MPS backend out of memory (MPS allocated"), FailureClass.CUDA_OOM),
        (RuntimeError("CUDA error: device-side assert triggered"), FailureClass.ERROR),
        (OSError(errno.ENOSPC, "No space left on device"), FailureClass.DISK_FULL),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), FailureClass.DISK_FULL),
        (OSError(errno.EIO, "Input/output error"), FailureClass.ERROR),
        (RuntimeError("I/O error: No space left on device (os error 28)"), FailureClass.DISK_FULL),
        (RuntimeError("I/O error: Disk quota exceeded (os error 122)"), FailureClass.DISK_FULL),
        (NotTrainable("m", hint="h"), FailureClass.BAD_INPUT),
        (BundleUnusable("m", hint="h"), FailureClass.BAD_INPUT),
        (ExtraMissing("m", hint="h"), FailureClass.UNFIT),
        (DeviceUnavailable("m", hint="h"), FailureClass.UNFIT),
        (DeviceOccupied("m", hint="h"), FailureClass.DEVICE_FULL),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), FailureClass.CUDA_OOM),
        (DigestMismatch("m", hint="h"), FailureClass.INTEGRITY),
        (LeakRefused("m", hint="h"), FailureClass.INTEGRITY),
        (LossNotFinite("m", hint="h"), FailureClass.NAN_LOSS),
        (StorageUnavailable("m", hint="h"), FailureClass.ERROR),
        (TokeniserLost("m", hint="h"), FailureClass.CRASH),
    ],
)
def test_an_exception_has_its_class(exc: Exception, expected: FailureClass) -> None:
    assert failure_class(exc) is expected


def test_a_rank_that_died_counts_as_the_runner_it_belonged_to() -> None:
    killed = RankLost("Rank 1 was ended by signal 9.", hint="h", returncode=-signal.SIGKILL)
    assert failed(killed).failure is FailureClass.CRASH
    assert failed(killed, out_of_memory_kills=1).failure is FailureClass.HOST_OOM


def test_a_tokenising_process_that_the_kernel_killed_for_memory_is_no_crash() -> None:
    lost = TokeniserLost("A process that tokenises ahead of the device died.", hint="h")
    assert failed(lost).failure is FailureClass.CRASH
    assert failed(lost, out_of_memory_kills=1).failure is FailureClass.HOST_OOM
    exited = RankLost("Rank 1 ended with exit code 3.", hint="h", returncode=3)
    assert failed(exited, out_of_memory_kills=1).failure is FailureClass.CRASH


def test_the_cause_behind_a_wrapped_error_decides() -> None:
    wrapped = StorageUnavailable("The bundle could not be written.", hint="Free space.")
    wrapped.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert failure_class(wrapped) is FailureClass.DISK_FULL


def test_a_loop_of_causes_ends() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert failure_class(first) is FailureClass.ERROR


def test_the_last_word_has_a_sentence_a_hint_and_the_traceback() -> None:
    try:
        raise BadInput("The corpus has no labels.", hint="Add labels.")
    except PostqError as exc:
        word = failed(exc)
    assert (word.message, word.hint) == ("The corpus has no labels.", "Add labels.")
    assert "test_failures.py" in word.traceback
    assert failed(ValueError("first\nsecond")).message == "ValueError: first"
    assert failed(ValueError()).message == "ValueError: no message"


def test_a_sigkill_is_the_kernels_only_if_its_counter_rose() -> None:
    assert class_of_exit(-signal.SIGKILL, out_of_memory_kills=1) is FailureClass.HOST_OOM
    assert class_of_exit(-signal.SIGKILL, out_of_memory_kills=0) is FailureClass.CRASH
    assert class_of_exit(-signal.SIGSEGV, out_of_memory_kills=1) is FailureClass.CRASH
    assert class_of_exit(3, out_of_memory_kills=0) is FailureClass.CRASH
    assert out_of_memory_kills() >= 0


@pytest.mark.parametrize(
    ("returncode", "words"), [(-11, "SIGSEGV"), (-200, "signal 200"), (3, "exit code 3")]
)
def test_an_exit_is_told_in_words(returncode: int, words: str) -> None:
    assert words in describe_exit(returncode)
