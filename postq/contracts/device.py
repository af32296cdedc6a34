"""A compute device a worker is pinned to, or several of one kind that it owns together."""

from typing import Literal

from pydantic import Field

from postq.contracts.record import Record

DeviceKind = Literal["cpu", "cuda", "mps"]


class Device(Record):
    """One device of this machine, or `count` of one kind."""

    kind: DeviceKind
    index: int = 0
    name: str = ""
    memory_bytes: int = 0
    """Of one device, the smallest: a job must fit on each."""
    count: int = Field(1, ge=1)
    """Devices owned together, the first of which is `index`. For the CPU, processes that share it."""

    @property
    def label(self) -> str:
        """`cuda:0`, `cuda:all`, `mps`, `cpu` or `cpu:2`, as the `--device` flag takes it."""
        if self.kind == "cuda":
            return f"cuda:{self.index}" if self.count == 1 else "cuda:all"
        return self.kind if self.count == 1 else f"{self.kind}:{self.count}"

    def one(self, number: int = 0) -> "Device":
        """The device `number`, from 0, of those owned."""
        return self.model_copy(update={"index": self.index + number, "count": 1})
