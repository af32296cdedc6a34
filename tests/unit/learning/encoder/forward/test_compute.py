"""Which precision forward passes run in, and what is said of one that a device lacks or does slowly."""

import pytest
import torch

from postq.contracts.recipes import Precision
from postq.errors import DeviceOccupied, DeviceUnavailable
from postq.learning.encoder.forward import compute
from postq.learning.encoder.forward.compute import (
    autocast,
    check_precision,
    placed,
    possible_precision,
    precision_name,
)

CPU, CUDA, MPS = (torch.device(kind) for kind in ("cpu", "cuda", "mps"))


@pytest.mark.parametrize(
    ("device", "precision", "name"),
    [
        (CPU, "auto", "fp32"),
        (CPU, "bf16", "bf16-autocast"),
        (CUDA, "auto", "bf16-autocast"),
        (CUDA, "fp32", "fp32"),
        (MPS, "auto", "fp32"),
    ],
)
def test_bfloat16_is_for_cuda_unless_told_otherwise(
    device: torch.device, precision: Precision, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    assert precision_name(device, precision) == name


def test_autocast_on_a_cpu_is_to_bfloat16_or_there_is_none() -> None:
    with autocast(CPU, "bf16"):
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16
    for precision in ("auto", "fp32"):
        with autocast(CPU, precision):
            assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("device", [CUDA, MPS])
def test_a_device_without_bfloat16_is_an_error_that_says_what_to_do(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(DeviceUnavailable, match=f"The device {device.type} has no bfloat16") as caught:
        check_precision(device, "bf16")
    assert "--precision auto" in caught.value.hint
    check_precision(device, "auto")


def test_a_bundle_that_was_trained_in_bfloat16_is_for_devices_without_it_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert possible_precision(MPS, "bf16") == "auto"
    assert "another precision than it was trained in" in capsys.readouterr().out
    assert possible_precision(CPU, "bf16") == "bf16"
    assert possible_precision(MPS, "fp32") == "fp32"


@pytest.mark.parametrize(("speedup", "told"), [(6.9, False), (0.14, True)])
def test_a_processor_on_which_bfloat16_is_slow_is_told_of(
    speedup: float, *, told: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compute, "bfloat16_speedup", lambda: speedup)
    check_precision(CPU, "bf16")
    assert ("multiplies bfloat16 slower than float32" in capsys.readouterr().out) == told
    check_precision(CPU, "auto")
    assert "slower" not in capsys.readouterr().out


class Unplaceable(torch.nn.Module):
    """A model that no device takes."""

    def __init__(self, error: RuntimeError) -> None:
        super().__init__()
        self._error = error

    def to(self, *_: object, **__: object) -> "Unplaceable":
        raise self._error


def test_a_model_that_does_not_fit_beside_others_says_so() -> None:
    with pytest.raises(DeviceOccupied, match="what is left of the memory of cuda:0") as caught:
        placed(Unplaceable(torch.OutOfMemoryError("CUDA out of memory.")), torch.device("cuda:0"))
    assert "nvidia-smi" in caught.value.hint
    with pytest.raises(RuntimeError, match="device-side assert"):
        placed(Unplaceable(RuntimeError("device-side assert")), CUDA)
    model = torch.nn.Linear(2, 2)
    assert placed(model, CPU) is model


def test_beside_an_accelerator_the_host_computes_on_one_thread() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        placed(torch.nn.Linear(2, 2), CPU)
        assert torch.get_num_threads() == 2
        placed(torch.nn.Linear(2, 2), torch.device("meta"))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
