"""The Triton kernels on a GPU, or where there is none on Triton's interpreter, which reads the same code."""

from importlib.util import find_spec

import pytest
import torch

from tests import services

INSTALLED = find_spec("triton") is not None
collect_ignore_glob = [] if INSTALLED else ["test_*.py"]


@pytest.fixture(scope="session")
def device():
    """Where the kernels run."""
    if not INSTALLED:
        services.missing("Triton", "pip install -e .[dev] on Linux")
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
