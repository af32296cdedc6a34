"""Functions with gradients of their own, called without autograd's records where no gradient is wanted."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function


class _NoRecord:
    """The context of a forward pass that no backward pass follows."""

    needs_input_grad = ()

    def save_for_backward(self, *tensors: Tensor) -> None:
        """Nothing is kept."""

    def set_materialize_grads(self, _: object) -> None:
        """There will be none."""


def call(function: type[Function], *arguments: Any) -> Any:
    """`function.apply(*arguments)`; without gradients its forward pass alone, which starts sooner.

    A layer calls seven such functions, and for batches that a GPU is quick with, what the processor takes to
    start its kernels is what counts.
    """
    if torch.is_grad_enabled():
        return function.apply(*arguments)  # type: ignore[no-untyped-call]
    return function.forward(_NoRecord(), *arguments)
