"""Why an attempt failed: the classes that decide whether, when and how a shard is retried."""

from enum import StrEnum


class FailureClass(StrEnum):
    """Each class names its cause; `jobs/retries.py` holds the policy for each."""

    CRASH = "crash"  # the runner died by a signal or an unknown exit code
    CUDA_OOM = "cuda_oom"  # device memory ran out: retried with half the batch
    HOST_OOM = "host_oom"  # the machine's memory ran out, or the kernel killed the runner
    NAN_LOSS = "nan_loss"  # training produced a loss that is not a number
    STALLED = "stalled"  # no progress within the phase's limit
    NOT_BEGUN = "not_begun"  # a classification's runner died or stood still before it had read a document
    DEVICE_FULL = "device_full"  # the model did not fit beside what others keep in the device's memory
    UNFIT = "unfit"  # a device, a precision or a library is missing where the worker runs
    DISK_FULL = "disk_full"  # no space for a checkpoint, a result or a log
    BAD_INPUT = "bad_input"  # the job's own input is at fault: never retried
    INTEGRITY = "integrity"  # a digest does not match, or a leak was refused: never retried
    LOST = "lost"  # the lease ran out: worker, machine or network gone
    ERROR = "error"  # any other exception in the runner
