"""Local attention of one layer: the fastest kernel that is exact for a stream, chosen aloud."""

from typing import Literal

import structlog
import torch
from torch import Tensor

from postq.learning.longformer.banded import banded_attention
from postq.learning.longformer.dropped import dropped_attention
from postq.learning.longformer.gathered import gathered_attention
from postq.learning.longformer.native import SERVED, native_attention, serves
from postq.learning.longformer.packing import PackedBatch

Kernel = Literal["native", "sdpa"]

_log = structlog.get_logger()


class LocalAttention:
    """Sliding window plus global columns, by the chosen kernel or, where that cannot, by gathered blocks."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self._told: set[str] = set()

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        rows: Tensor | None,
        batch: PackedBatch,
        *,
        window: int,
        dropout: float,
    ) -> Tensor:
        """(tokens, heads, width) attention; `rows` (globals, heads, width) answer for the global tokens."""
        if rows is not None and dropout > 0 and query.device.type == "cpu" and batch.first_token_global:
            kernel = native_attention if self._native(query) else dropped_attention
            return kernel(query, key, value, rows.to(query.dtype), batch, window=window, dropout=dropout)
        why_not = self._why_not(query, batch, dropout)
        if rows is not None and why_not is None:
            exact = native_attention if self._native(query) else banded_attention
            return exact(query, key, value, rows.to(query.dtype), batch, window=window)
        self._tell("This stream goes through gathered blocks", why_not or "no token is global")
        answered = gathered_attention(query, key, value, batch, window=window, dropout=dropout)
        return answered if rows is None else _overwrite(answered, rows.to(answered.dtype), batch)

    def _native(self, query: Tensor) -> bool:
        """Whether the compiled kernel was chosen and takes such tensors; torch's serve otherwise."""
        if self.kernel == "native" and not serves(query):
            why_not = f"{SERVED}, not {query.dtype} of width {query.shape[-1]}"
            self._tell("This stream does not go through the compiled kernel", why_not)
            return False
        return self.kernel == "native"

    def _why_not(self, query: Tensor, batch: PackedBatch, dropout: float) -> str | None:
        """Why the chosen kernel cannot serve this stream exactly; None when it can."""
        if dropout > 0:
            return "attention dropout needs the probabilities"
        if not batch.first_token_global:
            return "global tokens other than the first of each document"
        if query.device.type != "cpu":
            return "the banded kernels are for the CPU"
        return None

    def _tell(self, event: str, reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            _log.info(event, kernel=self.kernel, reason=reason)


def _overwrite(answered: Tensor, rows: Tensor, batch: PackedBatch) -> Tensor:
    if torch.is_grad_enabled():
        return answered.index_copy(0, batch.global_index, rows)
    return answered.index_copy_(0, batch.global_index, rows)
