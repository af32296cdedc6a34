"""Devices are found without torch, numbered as CUDA numbers them, and refused with a hint."""

from pathlib import Path

import pytest

from postq import devices
from postq.contracts.device import Device
from postq.devices import (
    bfloat16_instructions,
    cpu_device,
    cuda_devices,
    parse_device,
    visible_cuda_value,
    worthwhile_devices,
)
from postq.errors import DeviceUnavailable

TWO_GPUS = "0, GPU-aaaa1111, NVIDIA A100, 81920\\n1, GPU-bbbb2222, NVIDIA T4, 15360\\n"


def install_nvidia_smi(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, output: str, status: int = 0
) -> None:
    """Put a program of that name, which prints what the real one would, first on the path."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{output}'\nexit {status}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.fixture(autouse=True)
def no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(devices.platform, "system", lambda: "Linux")


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_nvidia_smi(tmp_path, monkeypatch, output=TWO_GPUS)


@pytest.mark.usefixtures("two_gpus")
def test_gpus_are_listed_with_their_memory() -> None:
    first, second = cuda_devices()
    assert (first.label, first.name, first.memory_bytes) == ("cuda:0", "NVIDIA A100", 80 * 2**30)
    assert (second.label, second.memory_bytes) == ("cuda:1", 15 * 2**30)
    assert worthwhile_devices() == (first, second)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("1,0", ["NVIDIA T4", "NVIDIA A100"]),
        ("GPU-bbbb", ["NVIDIA T4"]),
        ("1,-1,0", ["NVIDIA T4"]),
        ("MIG-cccc", ["MIG slice"]),
        ("", []),
        ("7", []),
    ],
)
def test_gpus_hidden_from_this_process_are_not_offered(
    visible: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = cuda_devices()
    assert [device.name for device in found] == names
    assert [device.index for device in found] == list(range(len(names)))


@pytest.mark.usefixtures("two_gpus")
def test_a_runner_sees_its_own_gpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    second = parse_device("cuda:1")
    assert visible_cuda_value(second) == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert visible_cuda_value(second) == "0"
    assert visible_cuda_value(cpu_device()) == ""


@pytest.mark.parametrize(
    ("output", "status"), [("NVIDIA-SMI has failed", 9), ("a line of another form\\n", 0)]
)
def test_a_broken_driver_means_no_gpu(
    output: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_nvidia_smi(tmp_path, monkeypatch, output=output, status=status)
    assert cuda_devices() == ()


def test_a_missing_device_is_refused_and_the_present_ones_named() -> None:
    for text in ("cuda", "cuda:0", "mps", "tpu", ""):
        with pytest.raises(DeviceUnavailable) as caught:
            parse_device(text)
        assert "cpu" in caught.value.hint


def test_an_apple_machine_has_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(devices.platform, "machine", lambda: "arm64")
    assert parse_device("mps") == worthwhile_devices()[0]


def test_without_an_accelerator_the_cpu_is_the_device() -> None:
    (only,) = worthwhile_devices()
    assert only == parse_device("cpu") == cpu_device()
    assert only.memory_bytes > 2**28


def test_a_container_limit_counts_as_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(devices, "_CGROUP_LIMITS", (str(limit), str(tmp_path / "absent")))
    unlimited = cpu_device().memory_bytes
    limit.write_text("max\n")
    assert cpu_device().memory_bytes == unlimited
    limit.write_text(f"{2**28}\n")
    assert cpu_device() == Device(kind="cpu", name=cpu_device().name, memory_bytes=2**28)


@pytest.mark.usefixtures("two_gpus")
def test_all_gpus_can_be_one_worker_s(monkeypatch: pytest.MonkeyPatch) -> None:
    both = parse_device("cuda:all")
    assert (both.label, both.count, both.memory_bytes) == ("cuda:all", 2, 15 * 2**30)
    assert parse_device(both.label) == both
    assert [both.one(number).label for number in range(2)] == ["cuda:0", "cuda:1"]
    assert visible_cuda_value(both) == "0,1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert visible_cuda_value(both) == "1,0"


def test_all_of_one_gpu_is_that_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_nvidia_smi(tmp_path, monkeypatch, output="0, GPU-aaaa1111, NVIDIA A100, 81920\\n")
    assert parse_device("cuda:all").label == "cuda:0"


def test_the_cpu_can_stand_for_several_processes_that_share_its_memory() -> None:
    two = parse_device("cpu:2")
    assert (two.label, two.count) == ("cpu:2", 2)
    assert parse_device(two.label) == two
    assert two.memory_bytes == cpu_device().memory_bytes // 2
    assert two.one(1) == two.one(0).model_copy(update={"index": 1})


@pytest.mark.parametrize("wrong", ["cpu:0", "cpu:x", "cpu:-1", "cuda:all"])
def test_devices_that_cannot_be_are_refused(wrong: str) -> None:
    with pytest.raises(DeviceUnavailable, match=wrong):
        parse_device(wrong)


@pytest.mark.parametrize(
    ("flags", "by"),
    [("fpu avx512_bf16 amx_bf16", "AMX"), ("fpu avx512_bf16", "AVX-512"), ("fpu avx2", ""), (None, "")],
)
def test_what_makes_bfloat16_fast_is_read_from_the_processors_flags(
    monkeypatch: pytest.MonkeyPatch, flags: str | None, by: str
) -> None:
    text = "" if flags is None else f"model name\t: Some Processor\nflags\t\t: {flags}\nbugs\t\t: amx_bf16"
    monkeypatch.setattr(devices, "_read", {"/proc/cpuinfo": text}.get)
    assert bfloat16_instructions() == by
