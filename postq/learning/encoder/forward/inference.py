"""Logits of tokenised documents: token-budget batches formed by length, halved when memory runs out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from postq.contracts.device import Device
from postq.contracts.recipes import Precision
from postq.learning.encoder.forward.calling import Batch, Pooling, forward_logits, pads
from postq.learning.encoder.forward.compute import is_out_of_memory, release_memory
from postq.learning.encoder.tokens.tokeniser import TokenIds, TokenisedText
from postq.learning.longformer import best_token_budget

log = structlog.get_logger()
Logits = NDArray[np.float32]
Windows = Iterable[Sequence[TokenisedText]]
"""Documents, of which each window is drawn when those before it fill no batch any more."""

ONE_AT_A_TIME = 1
"""Tokens: a batch always holds at least one sequence, and with this budget no other."""
PADDED_TOKENS = 16_384
"""Tokens, padding included, of an encoder without a packed form in a batch on an accelerator."""


@dataclass(slots=True)
class TokenBudget:
    """The most tokens in one batch, padding included; halves for good when the device runs out of memory."""

    tokens: int

    def halve(self) -> None:
        """Allow half as many tokens from now on."""
        self.tokens = max(1, self.tokens // 2)


def token_budget(model: nn.Module, device: Device, *, asked: int | None, divisor: int) -> TokenBudget:
    """The budget asked for; by default one document at a time on a CPU, a full batch on an accelerator.

    `model` is the form that will run.

    How a matrix product is cut, and so its last bits, follows from the shape of the whole batch. Alone, a
    document has the same shape and hence the same score whatever shard, attempt or order it comes in. On a
    CPU that costs nothing from about 500 tokens on (docs/performance.md).
    """
    if asked is None and device.kind == "cpu":
        asked = ONE_AT_A_TIME
    elif asked is None:
        asked = PADDED_TOKENS if pads(model) else best_token_budget(device.kind)
    return TokenBudget(max(1, asked // divisor))


@dataclass(frozen=True, slots=True)
class _Piece:
    document: int
    ids: TokenIds


@dataclass(slots=True)
class _Pooled:
    """The running pool of one document's pieces."""

    pieces: int
    waiting: int
    value: Logits | None = None

    def add(self, logits: Logits, *, pooling: Pooling) -> None:
        self.waiting -= 1
        if self.value is None:
            self.value = logits
        elif pooling == "max":
            self.value = np.maximum(self.value, logits)
        else:
            self.value = self.value + logits

    def settled(self, *, pooling: Pooling) -> Logits:
        assert self.value is not None
        return self.value / np.float32(self.pieces) if pooling == "mean" and self.pieces > 1 else self.value


class _Queue:
    """Pieces that wait for a batch, longest first. Windows are drawn when what waits fills no batch."""

    def __init__(self, windows: Windows, *, budget: TokenBudget, padded: bool) -> None:
        self._windows = iter(windows)
        self._budget = budget
        self._padded = padded
        self._pieces: list[_Piece] = []
        self._drawn = 0
        self.pooled: dict[int, _Pooled] = {}

    def batch(self, *, idle: bool) -> list[_Piece]:
        """As many pieces as the budget holds, and at least one; none at the end.

        Of several windows only the last one ends in a batch that is not full, and the first when the device
        is `idle`: what is left of the others joins the next.
        """
        while True:
            pieces, full = self._front()
            if full or (pieces and idle) or not self._draw():
                return pieces

    def drop(self, count: int) -> None:
        """The first pieces have their logits."""
        del self._pieces[:count]

    def _front(self) -> tuple[list[_Piece], bool]:
        """The next batch as it would be now, and whether nothing would fit in besides."""
        if not self._pieces:
            return [], False
        sizes = _sizes(self._pieces, padded=self._padded)
        count = max(1, int(np.searchsorted(sizes, self._budget.tokens, side="right")))
        full = count < len(self._pieces) or bool(sizes[-1] >= self._budget.tokens)
        return self._pieces[:count], full

    def _draw(self) -> bool:
        """Let the next window join what waits; False when there is none."""
        window = next(self._windows, None)
        if window is None:
            return False
        for index, document in enumerate(window, self._drawn):
            self.pooled[index] = _Pooled(len(document.pieces), len(document.pieces))
            self._pieces += [_Piece(index, ids) for ids in document.pieces]
        self._drawn += len(window)
        self._pieces.sort(key=lambda piece: len(piece.ids), reverse=True)
        return True


def document_logits(
    model: nn.Module,
    windows: Windows,
    *,
    budget: TokenBudget,
    pooling: Pooling,
    precision: Precision = "auto",
    before_batch: Callable[[], None] = lambda: None,
    around_call: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[tuple[list[int], Logits]]:
    """(indices, logits (docs, labels)) of documents as their last piece is done, each exactly once.

    Documents come in windows, within which the longest go first, and are numbered through all of them.
    `before_batch` is called before each forward pass and may raise; the pass runs within `around_call`,
    which on an accelerator ends when it has begun. `model` is a `runnable_form` in eval
    mode. A document's logits are NaN where the model's are.
    """
    queue = _Queue(windows, budget=budget, padded=pads(model))

    def forward(pieces: list[_Piece]) -> Tensor | None:
        with around_call():
            return _forward_or_halve(model, pieces, budget=budget, precision=precision)

    for pieces, logits in _piece_logits(queue, forward, before_batch=before_batch):
        done = []
        for piece, row in zip(pieces, logits, strict=True):
            entry = queue.pooled[piece.document]
            entry.add(row, pooling=pooling)
            if entry.waiting == 0:
                done.append(piece.document)
        if done:
            yield done, np.stack([queue.pooled.pop(i).settled(pooling=pooling) for i in done])


def _piece_logits(
    queue: _Queue, forward: Callable[[list[_Piece]], Tensor | None], *, before_batch: Callable[[], None]
) -> Iterator[tuple[list[_Piece], Logits]]:
    """Batches of pieces with their logits; on CUDA each is read back while the next one runs."""
    pending: tuple[list[_Piece], _Readback] | None = None
    while pieces := queue.batch(idle=pending is None):
        before_batch()
        logits = forward(pieces)
        if logits is None:
            continue
        queue.drop(len(pieces))
        if pending is not None:
            yield pending[0], pending[1].numpy()
        pending = (pieces, _Readback(logits))
    if pending is not None:
        yield pending[0], pending[1].numpy()


def _sizes(pieces: Sequence[_Piece], *, padded: bool) -> NDArray[np.int64]:
    """(pieces,) tokens of a batch of the first one, the first two and so on; the first is the longest."""
    lengths = np.array([len(piece.ids) for piece in pieces], dtype=np.int64)
    return np.arange(1, len(pieces) + 1) * lengths[0] if padded else np.cumsum(lengths)


def _forward_or_halve(
    model: nn.Module, pieces: list[_Piece], *, budget: TokenBudget, precision: Precision
) -> Tensor | None:
    """The logits, or None after the budget was halved because the batch did not fit."""
    try:
        # Not inference_mode: forms may keep derived weights, which training must be able to use afterwards.
        with torch.no_grad():
            batch = Batch(pieces=tuple(piece.ids for piece in pieces))
            return forward_logits(model, batch, precision=precision)
    except RuntimeError as exc:
        if len(pieces) == 1 or not is_out_of_memory(exc):
            raise
        budget.tokens = int(_sizes(pieces, padded=pads(model))[-1])
        budget.halve()
        log.warning("The device ran out of memory; the batch is halved.", token_budget=budget.tokens)
    release_memory(next(model.parameters()).device)
    return None


class _Readback:
    """A copy to the host that does not wait for the device until its values are asked for."""

    def __init__(self, logits: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        if logits.device.type != "cuda":
            self._host = logits.cpu()
            return
        self._host = torch.empty(logits.shape, dtype=logits.dtype, pin_memory=True)
        self._host.copy_(logits, non_blocking=True)
        self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._event.record(torch.cuda.current_stream(logits.device))

    def numpy(self) -> Logits:
        if self._event is not None:
            self._event.synchronize()
        values: Logits = self._host.numpy()
        return values
