"""Where the time of bulk scoring goes: waiting for tokens, computing, or handing scores on."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(kw_only=True)
class ScoringClocks:
    """Seconds of one call of `score`; logged at its end, and read by benchmarks/classify_encoder.py."""

    documents: int = 0
    tokens: int = 0
    """Tokens the model read."""
    waiting: float = 0.0
    """No tokens were there yet; an accelerator may have been at the batch before for part of it."""
    computing: float = 0.0
    """In forward passes; on an accelerator until their logits were back."""
    calling: float = 0.0
    """Of the time above, in calls of the model, which on an accelerator only start its work: where that is
    most of it, the device waits for the processor."""
    batches: int = 0
    """Calls of the model."""
    tokenising_cpu: float = 0.0
    """CPU seconds of tokenising, in a thread beside the device or in processes of their own."""
    started: float = field(default_factory=time.perf_counter)

    def start(self) -> None:
        """Scoring begins now; until then tokens were made ahead."""
        self.started = time.perf_counter()

    def waited_for(self, windows: Iterable[Item]) -> Iterator[Item]:
        """The same windows; the time until each is there counts as waiting."""
        for window, seconds in _timed(windows):
            self.waiting += seconds
            yield window

    def computed(self, batches: Iterable[Item]) -> Iterator[Item]:
        """The same batches; the time until each is there counts as computing, but for what of it was waiting
        for a window of theirs.
        """
        waited = self.waiting
        for batch, seconds in _timed(batches):
            self.computing += seconds - (self.waiting - waited)
            waited = self.waiting
            yield batch

    @contextmanager
    def called(self) -> Iterator[None]:
        """What happens in here is one call of the model."""
        before = time.perf_counter()
        yield
        self.calling += time.perf_counter() - before
        self.batches += 1

    def count(self, lengths: Iterable[int]) -> None:
        """Documents of these many tokens are done."""
        for length in lengths:
            self.documents += 1
            self.tokens += length

    @contextmanager
    def tokenising(self) -> Iterator[None]:
        """What the calling thread computes in here is tokenising."""
        before = time.thread_time()
        try:
            yield
        finally:
            self.tokenising_cpu += time.thread_time() - before

    def facts(self) -> dict[str, float]:
        """For the log; what is left of `seconds` went into handing scores on."""
        return {
            "documents": self.documents,
            "tokens": self.tokens,
            "batches": self.batches,
            "seconds": round(time.perf_counter() - self.started, 3),
            "waiting_seconds": round(self.waiting, 3),
            "computing_seconds": round(self.computing, 3),
            "calling_seconds": round(self.calling, 3),
            "tokenising_cpu_seconds": round(self.tokenising_cpu, 3),
        }


def _timed(items: Iterable[Item]) -> Iterator[tuple[Item, float]]:
    """Each item with the seconds it took to come."""
    before = time.perf_counter()
    for item in items:
        yield item, time.perf_counter() - before
        before = time.perf_counter()
