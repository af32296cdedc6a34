"""The torch side of a device: where tensors lie, which precision is used, which versions ran."""

import platform
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from typing import TypeVar

import structlog
import torch
from torch import nn

from postq.contracts.device import Device
from postq.contracts.recipes import Precision
from postq.errors import DeviceOccupied, DeviceUnavailable
from postq.learning.longformer import bfloat16_speedup

log = structlog.get_logger()
Model = TypeVar("Model", bound=nn.Module)

AMPERE = (8, 0)
"""Compute capability of the first CUDA cards that multiply bfloat16."""
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


def check_precision(device: torch.device, precision: Precision) -> None:
    """Raise DeviceUnavailable where a device has no bfloat16; warn where a CPU has it, but slowly."""
    if precision != "bf16":
        return
    if device.type == "cpu":
        _warn_if_slow()
    elif not _has_bf16(device):
        raise DeviceUnavailable(
            f"The device {device.type} has no bfloat16 that postq could use.",
            hint="Submit the job again with --precision auto, or with --device-kind cpu or cuda.",
        )


def possible_precision(device: torch.device, wished: Precision) -> Precision:
    """What a bundle's recipe wishes for, or `auto`, with a warning, on a device that lacks it.

    A bundle is for every device, and nobody asked for this one's job in particular.
    """
    try:
        check_precision(device, wished)
    except DeviceUnavailable as exc:
        log.warning("The bundle is scored in another precision than it was trained in.", reason=str(exc))
        return "auto"
    return wished


def _warn_if_slow() -> None:
    speedup = bfloat16_speedup()
    if speedup < 1:
        log.warning(
            "This processor multiplies bfloat16 slower than float32.", times_as_fast=round(speedup, 2)
        )


def _has_bf16(device: torch.device) -> bool:
    """torch counts cards as well that only emulate it."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= AMPERE


def uses_bf16(device: torch.device, precision: Precision = "auto") -> bool:
    """Whether forward passes multiply in bfloat16: by default on CUDA devices that have it."""
    return _has_bf16(device) if precision == "auto" else precision == "bf16"


def autocast(device: torch.device, precision: Precision = "auto") -> AbstractContextManager[object]:
    """The precision that forward passes run in: autocast to bfloat16, or float32."""
    if uses_bf16(device, precision):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def precision_name(device: torch.device, precision: Precision = "auto") -> str:
    """`bf16-autocast` or `fp32`, as reports print it."""
    return "bf16-autocast" if uses_bf16(device, precision) else "fp32"


def library_versions() -> dict[str, str]:
    """Versions of Python and of every library a training's result depends on."""
    return {"python": platform.python_version(), **{name: version(name) for name in VERSIONED}}


def is_out_of_memory(error: RuntimeError) -> bool:
    """True for what the devices raise when memory runs out: CUDA has a class for it, the others words."""
    words = str(error).lower()
    spoken = "out of memory" in words or "can't allocate memory" in words or "alloc_failed" in words
    return spoken or isinstance(error, torch.OutOfMemoryError)


def placed(model: Model, device: torch.device) -> Model:
    """The model on `device`; beside an accelerator torch computes on one thread of this process from then on.

    Raises DeviceOccupied when there is no room even without any batch.
    """
    try:
        model = model.to(device)
    except RuntimeError as exc:
        if not is_out_of_memory(exc):
            raise
        raise DeviceOccupied(
            f"The model does not fit into what is left of the memory of {device}.",
            hint="See what else is in it (nvidia-smi), then run `postq retry`, or use a larger device.",
        ) from exc
    _keep_to_one_thread(device)
    return model


def _keep_to_one_thread(device: torch.device) -> None:
    """What is computed on the host beside an accelerator is little, and each piece that is shared out among
    threads waits until the processor has time for all of them. Processes that tokenise leave none: with two
    cores kept busy, the host's part of a forward pass took fifty times as long on two threads
    (docs/experiments.md).
    """
    if device.type != "cpu":
        torch.set_num_threads(1)


def release_memory(device: torch.device) -> None:
    """Hand cached blocks back to the device after an out-of-memory error."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
