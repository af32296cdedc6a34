"""Work done one step ahead in a background thread, so that the device does not wait for the tokenizer."""

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


def prefetched(items: Iterable[In], work: Callable[[In], Out], *, ahead: int) -> Iterator[Out]:
    """`work(item)` for each item, in order, at most `ahead` results waiting.

    Iterating `items` and `work` both happen in one thread; an exception there is raised here, after the
    results before it. Closing the generator ends the thread.
    """
    shelf = _Shelf[Out](ahead)
    thread = threading.Thread(target=shelf.fill, args=(items, work), name="postq-prefetch", daemon=True)
    thread.start()
    try:
        yield from shelf.results()
    finally:
        shelf.unwanted.set()
        thread.join()


class _Shelf(Generic[Out]):
    def __init__(self, size: int) -> None:
        self.unwanted = threading.Event()
        self._queue: queue.Queue[Out | _Failure | _End] = queue.Queue(maxsize=size)

    def fill(self, items: Iterable[In], work: Callable[[In], Out]) -> None:
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
        while not self.unwanted.is_set():
            try:
                self._queue.put(entry, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def results(self) -> Iterator[Out]:
        while not isinstance(entry := self._queue.get(), _End):
            if isinstance(entry, _Failure):
                raise entry.error
            yield entry
