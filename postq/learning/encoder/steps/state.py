"""Where a training stands: everything but tensors, as plain values that survive a round trip through JSON."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True, kw_only=True)
class Sums:
    """Running sums over documents; their quotients are the true losses, free of batch and accumulation."""

    loss: float = 0.0
    plain_loss: float = 0.0
    documents: int = 0
    tokens: int = 0

    def plus(self, other: "Sums") -> "Sums":
        """The sums over both."""
        return Sums(
            loss=self.loss + other.loss,
            plain_loss=self.plain_loss + other.plain_loss,
            documents=self.documents + other.documents,
            tokens=self.tokens + other.tokens,
        )


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """The position of a training in its data, and what it has seen so far."""

    micro_tokens: int
    """The most tokens in one micro-batch; halved when the device runs out of memory."""
    gradient_checkpointing: bool = False
    epoch: int = 0
    """Epochs finished, validation included."""
    window: int = 0
    """Optimizer steps finished within the current epoch."""
    offset: int = 0
    """Documents of the open window whose gradients are already summed up."""
    optimizer_steps: int = 0
    scheduler_steps: int = 0
    checkpoints: int = 0
    """Checkpoints written so far; numbers their folders, across resumes."""
    resumed: int = 0
    open_sums: Sums = field(default_factory=Sums)
    """Of the open window."""
    epoch_sums: Sums = field(default_factory=Sums)
    """Of the epoch's finished windows."""
    tokens: int = 0
    """Real tokens trained on, all epochs."""
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    """The epoch whose weights are kept, from 1; 0 before the first validation."""
    best_value: float = float("-inf")
    stale_epochs: int = 0
    """Epochs since the best one."""
    dropped: list[int] = field(default_factory=list)
    """Indices of training documents left out because their loss was not a number."""
    seconds: float = 0.0

    def close_window(self) -> None:
        """The open window's step was taken."""
        self.epoch_sums = self.epoch_sums.plus(self.open_sums)
        self.tokens += self.open_sums.tokens
        self.open_sums = Sums()
        self.offset = 0
        self.window += 1
        self.optimizer_steps += 1

    def reopen_window(self) -> None:
        """Forget the open window's work; it starts anew."""
        self.open_sums = Sums()
        self.offset = 0

    def close_epoch(self, entry: dict[str, float]) -> None:
        """The epoch was validated; `entry` is its line in the history."""
        self.history.append(entry)
        self.epoch += 1
        self.window = 0
        self.epoch_sums = Sums()
        if entry["selected"] > self.best_value:
            self.best_epoch, self.best_value, self.stale_epochs = self.epoch, entry["selected"], 0
        else:
            self.stale_epochs += 1

    def ran_out_of_patience(self, patience: int) -> bool:
        """True once `patience` epochs brought nothing better; 0 waits for ever."""
        return patience > 0 and self.stale_epochs >= patience

    def to_json(self) -> dict[str, Any]:
        """Plain values; infinities become None."""
        values = asdict(self)
        values["best_value"] = self.best_value if self.best_epoch else None
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "TrainingState":
        """The state `to_json` was called on."""
        sums = {name: Sums(**values[name]) for name in ("open_sums", "epoch_sums")}
        best = values["best_value"] if values["best_value"] is not None else float("-inf")
        return cls(**{**values, **sums, "best_value": best})
