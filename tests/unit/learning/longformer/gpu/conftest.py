"""The Triton kernels on a GPU, or where there is none on Triton's interpreter, which reads the same code."""

import os
from importlib.util import find_spec

import pytest
import torch

INSTALLED = find_spec("triton") is not None
PROMISED = os.environ.get("CI", "").lower() in ("1", "true")
collect_ignore_glob = [] if INSTALLED or PROMISED else ["test_*.py"]
"""Without Triton nothing is collected on a laptop; in CI importing the tests fails."""


@pytest.fixture(scope="session")
def device():
    """Where the kernels run."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="session", autouse=True)
def bfloat16_products():
    """The interpreter multiplies the bits of bfloat16 numbers as integers and does not round to them."""
    if torch.cuda.is_available() or not INSTALLED:
        yield
        return
    from tests.unit.learning.longformer.gpu.interpreter import mended

    with mended():
        yield
