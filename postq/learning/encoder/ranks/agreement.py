"""The processes of one training: whose documents are whose, and how all of them come to one decision."""

import json
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

BUCKET_ELEMENTS = 2**23
"""Gradients travel in buckets of this many numbers (32 MiB in float32): few messages, little extra memory."""

Indices = NDArray[np.int64]


class Exchange(Protocol):
    """What ranks need of a network. Every rank makes the same calls in the same order; each waits for all."""

    def gather(self, said: bytes) -> list[bytes]:
        """What every rank said, in the order of ranks."""

    def add(self, numbers: Tensor) -> None:
        """Replace `numbers` by their sum over the ranks, bit for bit the same on each."""


class Ranks:
    """`size` processes that hold equal weights and take every optimizer step together; this is number `rank`.

    A process alone asks nobody: every answer is its own, and nothing is copied or rounded on the way.
    """

    def __init__(self, exchange: Exchange | None = None, *, rank: int = 0, size: int = 1) -> None:
        self._exchange = exchange
        self.rank = rank
        self.size = size

    @property
    def alone(self) -> bool:
        """True of a process that has no others beside it."""
        return self._exchange is None

    @property
    def first(self) -> bool:
        """True of the one that writes checkpoints and is heard outside."""
        return self.rank == 0

    def share(self, documents: Indices, lengths: NDArray[np.int64]) -> Indices:
        """This rank's part of `documents`; `lengths` (docs,) are the tokens of every document by its index.

        Longest first, each goes to the rank that has the fewest tokens so far: all finish at about one time.
        With fewer documents than ranks some have none.
        """
        if self.alone:
            return documents
        ordered = documents[np.argsort(-lengths[documents], kind="stable")]
        loads = np.zeros(self.size, dtype=np.int64)
        mine = []
        for document in ordered:
            owner = int(loads.argmin())
            loads[owner] += lengths[document]
            if owner == self.rank:
                mine.append(document)
        return np.array(mine, dtype=np.int64)

    def tell(self, said: dict[str, Any]) -> list[dict[str, Any]]:
        """What every rank said (plain values that JSON can hold), in the order of ranks."""
        if self._exchange is None:
            return [said]
        return [json.loads(heard) for heard in self._exchange.gather(json.dumps(said).encode())]

    def any(self, yes: bool) -> bool:  # noqa: FBT001  (the one question there is)
        """True on every rank when it is true on one."""
        return any(heard["yes"] for heard in self.tell({"yes": yes}))

    def sum_rows(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The sum of everybody's (rows, columns): whole when each filled its own rows and left zeros else."""
        if self._exchange is None:
            return rows
        summed = torch.from_numpy(rows.copy())
        self._exchange.add(summed)
        whole: NDArray[np.float32] = summed.numpy()
        return whole

    def sum_gradients(self, model: nn.Module) -> None:
        """Give every rank the sum of all gradients; one that no rank has stays absent, as alone."""
        if self._exchange is None:
            return
        weights = dict(model.named_parameters())
        own = [name for name, weight in weights.items() if weight.grad is not None]
        present = set().union(*(heard["present"] for heard in self.tell({"present": own})))
        gradients = [_gradient(weight) for name, weight in weights.items() if name in present]
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
            self._exchange.add(flat)
            parts = torch.split(flat, [gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view_as(gradient))

    def seed_step(self, seed: int, step: int) -> None:
        """Draw step `step` from numbers of its own, so that dropout needs no generator state to resume.

        Alone, the generators run on from step to step, and their states lie in the checkpoints.
        """
        if self._exchange is not None:
            drawn = np.random.SeedSequence([seed, step, self.rank]).generate_state(1, np.uint64)[0]
            torch.manual_seed(int(drawn >> np.uint64(1)))


ALONE = Ranks()


def _gradient(weight: nn.Parameter) -> Tensor:
    if weight.grad is None:
        weight.grad = torch.zeros_like(weight)
    return weight.grad


def _buckets(gradients: Sequence[Tensor]) -> list[list[Tensor]]:
    buckets: list[list[Tensor]] = []
    room = 0
    for gradient in gradients:
        if gradient.numel() > room:
            buckets.append([])
            room = max(BUCKET_ELEMENTS, gradient.numel())
        buckets[-1].append(gradient)
        room -= gradient.numel()
    return buckets
