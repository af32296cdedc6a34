"""The compiled functions; their source is in `native/`. All arrays are float32."""

from numpy import float32
from numpy.typing import NDArray

Floats = NDArray[float32]

def available() -> bool: ...
def attend(
    query: Floats,
    key: Floats,
    value: Floats,
    output: Floats,
    lse: Floats | None,
    bounds: tuple[int, ...],
    reach: int,
    threads: int,
    dropout: float,
    seed: int,
    /,
) -> None: ...
def attend_backward(
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
    dropout: float,
    seed: int,
    /,
) -> None: ...
def pack(weight: Floats, packed: Floats, threads: int, /) -> None: ...
def multiply(
    states: Floats,
    packed: Floats,
    bias: Floats | None,
    output: Floats,
    add: bool,
    threads: int,
    /,
) -> None: ...
