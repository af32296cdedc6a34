"""Seeds and the states of every random generator a training draws from, so that it can resume bitwise."""

import random
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def capture_states(device: torch.device) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """All generator states: torch's as uint8 tensors, Python's and NumPy's as JSON values."""
    tensors = {"torch": torch.get_rng_state().clone()}
    if device.type == "cuda":
        tensors["device"] = torch.cuda.get_rng_state(device).clone()
    elif device.type == "mps":
        tensors["device"] = torch.mps.get_rng_state().clone()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    tensors["numpy_keys"] = torch.from_numpy(np.asarray(keys, dtype=np.uint32).view(np.uint8).copy())
    version, internal, gauss_next = random.getstate()
    return tensors, {
        "numpy": [str(name), int(position), int(has_gauss), float(cached)],
        "python": [version, list(internal), gauss_next],
    }


def restore_states(tensors: dict[str, torch.Tensor], values: dict[str, Any], device: torch.device) -> None:
    """Put back what `capture_states` returned."""
    torch.set_rng_state(tensors["torch"])
    if device.type == "cuda" and "device" in tensors:
        torch.cuda.set_rng_state(tensors["device"], device)
    elif device.type == "mps" and "device" in tensors:
        torch.mps.set_rng_state(tensors["device"])
    name, position, has_gauss, cached = values["numpy"]
    keys = tensors["numpy_keys"].numpy().view(np.uint32)
    np.random.set_state((name, keys, position, has_gauss, cached))
    version, internal, gauss_next = values["python"]
    random.setstate((version, tuple(internal), gauss_next))
