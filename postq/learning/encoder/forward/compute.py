"""The torch side of a device: where tensors lie, which precision is used, which versions ran."""

import platform
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version

import torch

from postq.contracts.device import Device
from postq.errors import DeviceUnavailable

VERSIONED = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


def torch_device(device: Device) -> torch.device:
    """The torch device for `device`; DeviceUnavailable when this process cannot see it.

    A runner sees one CUDA device only, so `cuda:3` of the machine is index 0 when the runner's
    CUDA_VISIBLE_DEVICES hides the others.
    """
    if device.kind == "cuda":
        return torch.device("cuda", _cuda_index(device))
    if device.kind == "mps" and not torch.backends.mps.is_available():
        raise _unavailable(device)
    return torch.device(device.kind)


def _cuda_index(device: Device) -> int:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise _unavailable(device)
    return device.index if device.index < count else 0


def _unavailable(device: Device) -> DeviceUnavailable:
    return DeviceUnavailable(
        f"This process has no device {device.label} that torch can use.",
        hint="See `postq doctor` for the devices found, or ask for --device cpu.",
    )


def uses_bf16(device: torch.device) -> bool:
    """True where autocast to bfloat16 is native: CUDA devices that support it."""
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """The precision forward passes run in: bfloat16 autocast on CUDA, float32 elsewhere."""
    if uses_bf16(device):
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


def precision_name(device: torch.device) -> str:
    """`bf16-autocast` or `fp32`, as reports print it."""
    return "bf16-autocast" if uses_bf16(device) else "fp32"


def library_versions() -> dict[str, str]:
    """Versions of Python and of every library a training's result depends on."""
    return {"python": platform.python_version(), **{name: version(name) for name in VERSIONED}}


def is_out_of_memory(error: RuntimeError) -> bool:
    """True for what the devices raise when memory runs out: CUDA has a class for it, the others words."""
    words = str(error).lower()
    spoken = "out of memory" in words or "can't allocate memory" in words or "alloc_failed" in words
    return spoken or isinstance(error, torch.OutOfMemoryError)


def release_memory(device: torch.device) -> None:
    """Hand cached blocks back to the device after an out-of-memory error."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
