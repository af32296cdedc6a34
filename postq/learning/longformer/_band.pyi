"""The compiled part of `native.py`; its source is in `native/`."""

from numpy import float32
from numpy.typing import NDArray

Floats = NDArray[float32]

def available() -> bool: ...
def forward(
    query: Floats,
    key: Floats,
    value: Floats,
    output: Floats,
    lse: Floats | None,
    bounds: tuple[int, ...],
    reach: int,
    threads: int,
    /,
) -> None: ...
def backward(
    query: Floats,
    key: Floats,
    value: Floats,
    output: Floats,
    lse: Floats,
    gradient: Floats,
    query_gradient: Floats,
    key_gradient: Floats,
    value_gradient: Floats,
    bounds: tuple[int, ...],
    reach: int,
    threads: int,
    /,
) -> None: ...
