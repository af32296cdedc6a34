"""Ranks as threads of one process: the same agreements without starting processes, for quick tests."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor

from postq.learning.encoder.ranks.agreement import Ranks

Answer = TypeVar("Answer")
PATIENCE_SECONDS = 60


class _Table:
    """Where all threads lay down what they say, and read it once everybody has."""

    def __init__(self, size: int) -> None:
        self.laid: list[Any] = [None] * size
        self.barrier = threading.Barrier(size, timeout=PATIENCE_SECONDS)


class ThreadExchange:
    """An exchange between threads; a missing rank breaks the barrier, so nobody waits for ever."""

    def __init__(self, table: _Table, rank: int) -> None:
        self._table = table
        self._rank = rank

    def gather(self, said: bytes) -> list[bytes]:
        return self._everybody(said)

    def add(self, numbers: Tensor) -> None:
        numbers.copy_(torch.stack(self._everybody(numbers.clone())).sum(dim=0))

    def _everybody(self, mine: Any) -> list[Any]:
        self._table.laid[self._rank] = mine
        self._table.barrier.wait()
        heard = list(self._table.laid)
        self._table.barrier.wait()
        return heard


def as_ranks(size: int, work: Callable[[Ranks], Answer]) -> list[Answer]:
    """What `work` answers on each of `size` ranks; raises what the first of them raised."""
    table = _Table(size)

    def run(rank: int) -> Answer:
        try:
            return work(Ranks(ThreadExchange(table, rank), rank=rank, size=size))
        except BaseException:
            table.barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        waiting = [pool.submit(run, rank) for rank in range(size)]
        errors = [error for one in waiting if (error := one.exception()) is not None]
        for error in errors:
            if not isinstance(error, threading.BrokenBarrierError):
                raise error
        return [one.result() for one in waiting]
