"""Tensors on their way from the host to a device."""

import torch
from torch import Tensor


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`. To a CUDA GPU it goes through pinned memory: a copy from any other waits until
    all that was asked of the GPU before is done, and the GPU then waits for the next kernels.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
