"""Work done ahead in a background thread, so that the device does not wait for the tokenizer."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")

POLL_SECONDS = 0.1
"""How soon the thread notices that nobody wants its results any more."""


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class _End:
    pass


class Prefetched(Generic[Out]):
    """`work(item)` for each item, in order, at most `ahead` results waiting; it begins at once.

    Iterating `items` and `work` both happen in one thread; an exception there is raised to who iterates over
    this, after the results before it.
    """

    def __init__(self, items: Iterable[In], work: Callable[[In], Out], *, ahead: int) -> None:
        self._unwanted = threading.Event()
        self._queue: queue.Queue[Out | _Failure | _End] = queue.Queue(maxsize=ahead)
        self._thread = threading.Thread(
            target=self._fill, args=(items, work), name="postq-prefetch", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Iterator[Out]:
        """All results, once."""
        while not isinstance(entry := self._queue.get(), _End):
            if isinstance(entry, _Failure):
                raise entry.error
            yield entry

    def close(self) -> None:
        """Nobody wants the rest: end the thread after what it is at."""
        self._unwanted.set()
        self._thread.join()

    def _fill(self, items: Iterable[In], work: Callable[[In], Out]) -> None:
        try:
            for item in items:
                if not self._put(work(item)):
                    return
        except BaseException as exc:
            # Whatever it is belongs to the consumer's thread, where it can be handled.
            self._put(_Failure(exc))
        else:
            self._put(_End())

    def _put(self, entry: Out | _Failure | _End) -> bool:
        while not self._unwanted.is_set():
            try:
                self._queue.put(entry, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False
