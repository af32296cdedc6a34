"""Which compute devices this machine has, found without importing torch."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

from postq.contracts.device import Device
from postq.errors import DeviceUnavailable

NVIDIA_SMI_SECONDS = 20
"""`nvidia-smi` may take seconds on a machine with many sleeping GPUs."""
_CPU = re.compile(r"cpu(?::(?P<processes>[1-9]\d?))?")
_BFLOAT16_FLAGS = (("amx_bf16", "AMX"), ("avx512_bf16", "AVX-512"))
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def detect_devices() -> tuple[Device, ...]:
    """Every device a worker could be pinned to: CUDA devices in PCI order, then MPS, then the CPU."""
    return (*cuda_devices(), *_mps_devices(), cpu_device())


def worthwhile_devices() -> tuple[Device, ...]:
    """The devices `postq up` starts workers for: all accelerators, or the CPU where there is none."""
    return (*cuda_devices(), *_mps_devices()) or (cpu_device(),)


def joined(devices: Sequence[Device]) -> Device:
    """Devices of one kind, numbered from 0, as one that a single worker owns."""
    memory = min(device.memory_bytes for device in devices)
    return devices[0].model_copy(update={"count": len(devices), "memory_bytes": memory})


def parse_device(text: str) -> Device:
    """The device a `--device` flag names: `cpu`, `cpu:N` (processes), `mps`, `cuda`, `cuda:N` or `cuda:all`.

    Raises DeviceUnavailable when there is no such device, naming those there are.
    """
    wanted = "cuda:0" if text == "cuda" else text
    if cpu := _CPU.fullmatch(wanted):
        return cpu_device(processes=int(cpu["processes"] or 1))
    if wanted == "cuda:all" and (gpus := cuda_devices()):
        return joined(gpus)
    found = detect_devices()
    for device in found:
        if device.label == wanted:
            return device
    raise DeviceUnavailable(
        f"This machine has no device '{text}'.",
        hint=f"Choose one of: {', '.join(device.label for device in found)}.",
    )


def cpu_device(*, processes: int = 1) -> Device:
    """The CPU, with the memory each process may use: its share of the machine's, or less in a container."""
    return Device(
        kind="cpu",
        name=platform.processor() or platform.machine(),
        memory_bytes=_host_memory() // processes,
        count=processes,
    )


def cuda_devices() -> tuple[Device, ...]:
    """The CUDA devices visible to this process, numbered as CUDA_VISIBLE_DEVICES numbers them."""
    rows = _nvidia_smi_rows()
    entries = _visible_entries()
    if entries is None:
        return tuple(_cuda_device(number, row) for number, row in enumerate(rows))
    chosen = [_row_of(entry, rows) for entry in entries]
    return tuple(_cuda_device(number, row) for number, row in enumerate(chosen) if row is not None)


def visible_cuda_value(device: Device) -> str:
    """What CUDA_VISIBLE_DEVICES must be in a child process so that it sees `device` and no other."""
    if device.kind != "cuda":
        return ""
    entries = _visible_entries()
    indices = range(device.index, device.index + device.count)
    return ",".join(str(index) if entries is None else entries[index] for index in indices)


def usable_cores() -> int:
    """Cores this process may use: its affinity, or less where a container has a CPU quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota()
    return max(1, cores if quota is None else min(cores, int(quota)))


def bfloat16_instructions() -> str:
    """By which instructions this processor multiplies bfloat16 quickly, AMX or AVX-512; empty by none."""
    flags = set(_read("/proc/cpuinfo").partition("flags")[2].partition("\n")[0].split())
    return next((name for flag, name in _BFLOAT16_FLAGS if flag in flags), "")


def _cuda_device(number: int, row: Sequence[str]) -> Device:
    _, _, name, mebibytes = row
    memory = int(mebibytes) * 2**20 if mebibytes.isdigit() else 0
    return Device(kind="cuda", index=number, name=name, memory_bytes=memory)


def _nvidia_smi_rows() -> list[list[str]]:
    """(index, uuid, name, memory in MiB) of every GPU, in PCI order; empty without a working driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=NVIDIA_SMI_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    if done.returncode != 0:
        return []
    lines = [[part.strip() for part in line.split(",")] for line in done.stdout.splitlines()]
    return [line for line in lines if len(line) == 4]


def _visible_entries() -> list[str] | None:
    """The parts of CUDA_VISIBLE_DEVICES; None when it is not set. CUDA stops reading at a `-1`."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        return None
    entries = [part.strip() for part in value.split(",") if part.strip()]
    return entries[: entries.index("-1")] if "-1" in entries else entries


def _row_of(entry: str, rows: Sequence[Sequence[str]]) -> Sequence[str] | None:
    """The GPU an entry of CUDA_VISIBLE_DEVICES means: an index or the beginning of a UUID."""
    if entry.startswith("MIG-"):
        return ("", entry, "MIG slice", "0")
    return next((row for row in rows if entry == row[0] or row[1].startswith(entry)), None)


def _mps_devices() -> tuple[Device, ...]:
    if (platform.system(), platform.machine()) != ("Darwin", "arm64"):
        return ()
    return (Device(kind="mps", name="Apple GPU", memory_bytes=_host_memory()),)


def _host_memory() -> int:
    """Bytes; the total rather than what is free now, since a worker outlives the moment it started in."""
    total = int(psutil.virtual_memory().total)
    limits = [int(text) for text in map(_read, _CGROUP_LIMITS) if text.isdigit()]
    return min([total, *limits])


def _cpu_quota() -> float | None:
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""
