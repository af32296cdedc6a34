"""The environment a runner is born with: its one device, its share of the cores, and no secrets."""

import os
from collections.abc import Mapping

from postq.contracts.device import Device
from postq.devices import usable_cores, visible_cuda_value

WITHHELD = ("POSTQ_DATABASE_URL", "POSTQ_BROKER_URL")
"""A runner never opens the database or the broker, so it is not told their passwords."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def runner_environment(
    device: Device,
    *,
    threads: int,
    variables: Mapping[str, str] | None = None,
    inherited: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Variables for a runner on `device` with `threads` compute threads, on top of the worker's own.

    `variables` carries settings that may have come from a file (`Settings.runner_variables`).

    They must be set before the libraries that read them are imported, hence in the environment.
    """
    base = os.environ if inherited is None else inherited
    kept = {name: value for name, value in base.items() if name not in WITHHELD}
    return {
        **kept,
        **(variables or {}),
        **{name: str(threads) for name in THREAD_VARIABLES},
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # the order nvidia-smi counts in
        "CUDA_VISIBLE_DEVICES": visible_cuda_value(device),
        # On the CPU the model needs the cores; beside a GPU they are free, and one core cannot feed it.
        "TOKENIZERS_PARALLELISM": "false" if device.kind == "cpu" else "true",
        "PYTHONUNBUFFERED": "1",
    }


def share_of_cores(*, workers_here: int, cpu_threads: int | None) -> int:
    """Compute threads of one runner: as the settings say, or this machine's cores by its workers."""
    return cpu_threads or max(1, usable_cores() // max(1, workers_here))
