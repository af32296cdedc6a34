"""What callers may have told torch before they come to the kernels."""

from contextlib import contextmanager

import torch

SETTINGS = ["autocast", "default dtype", "default device", "inference mode"]


@contextmanager
def set_meanwhile(setting):
    """The setting in force, and undone afterwards."""
    if setting == "default dtype":
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        try:
            yield
        finally:
            torch.set_default_dtype(before)
    else:
        with {
            "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
            "default device": lambda: torch.device("meta"),
            "inference mode": torch.inference_mode,
        }[setting]():
            yield
