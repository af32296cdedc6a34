"""A compute device a worker is pinned to."""

from typing import Literal

from postq.contracts.record import Record

DeviceKind = Literal["cpu", "cuda", "mps"]


class Device(Record):
    """One device of this machine."""

    kind: DeviceKind
    index: int = 0
    name: str = ""
    memory_bytes: int = 0

    @property
    def label(self) -> str:
        """`cuda:0`, `mps` or `cpu`, as the `--device` flag takes it."""
        return f"cuda:{self.index}" if self.kind == "cuda" else self.kind
