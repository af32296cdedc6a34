"""Processes that tokenise ahead of a GPU: in order, few chunks in flight, gone when their parent is.

Only beside an accelerator by default: on a CPU the cores are the model's, and one thread ahead of it is
enough (the tokenizer needs some 3 µs a token, a base-size Longformer over 300).
"""

import multiprocessing
import os
import pickle
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import structlog

from postq.contracts.device import Device
from postq.devices import usable_cores
from postq.errors import SettingsInvalid, TokeniserLost
from postq.learning.encoder.tokens.encoding import Encoded, EncodedChunk, encode_each, from_chunk, to_chunk
from postq.learning.encoder.tokens.tokeniser import TextTokeniser
from postq.lifeline import leave_with_parent

MOST_PROCESSES = 16
"""An H100 scores two million tokens a second; a process makes up to 300,000."""
CHUNK_DOCUMENTS = 16
CHUNK_CHARACTERS = 500_000
"""A document longer than this is a chunk of its own, so that its neighbours do not wait for it."""
START_SECONDS = 300.0
"""A process whose fellows are not there by then gives up, and with it the pool."""
NICENESS = 5
"""They give way to the thread that starts the device's work, of which everything else waits."""
CHUNKS_AHEAD = 2
"""Chunks per process that are queued or being tokenised; bounds memory."""

_log = structlog.get_logger()
_tokeniser: TextTokeniser | None = None


def wanted_processes(device: Device) -> int:
    """`POSTQ_TOKENISER_PROCESSES`, or by device: none on a CPU, else this runner's spare cores, at most 16.

    0 means that a thread of the runner tokenises. Raises SettingsInvalid.
    """
    asked = os.environ.get("POSTQ_TOKENISER_PROCESSES", "").strip()
    if asked:
        if not asked.isdigit():
            raise SettingsInvalid(
                f"POSTQ_TOKENISER_PROCESSES is '{asked}'.", hint="Use a whole number, or unset it."
            )
        return int(asked)
    return 0 if device.kind == "cpu" else min(MOST_PROCESSES, _cores() - 1)


def _cores() -> int:
    """This runner's share of the cores, as its environment says, or all there are."""
    share = os.environ.get("OMP_NUM_THREADS", "")
    return int(share) if share.isdigit() and int(share) > 0 else usable_cores()


class TokeniserPool:
    """Processes with a copy of the tokeniser each, kept between shards of one bundle."""

    def __init__(self, tokeniser: TextTokeniser, *, processes: int) -> None:
        """Raises OSError where there is no memory that processes can share, or no semaphore."""
        context = multiprocessing.get_context("spawn")  # not forked: the parent holds threads and a device
        self._all_there = context.Barrier(processes)
        self._pickled = _shared(pickle.dumps(tokeniser))
        given = (self._all_there, self._pickled.name)
        self._executor = ProcessPoolExecutor(
            processes, mp_context=context, initializer=_start, initargs=given
        )
        self._processes = processes
        self._cpu_seconds = 0.0
        self.why_not: str | None = None
        """Why the processes could not start, once `ready`."""
        self._starting = threading.Thread(target=self._await_all, name="postq-tokenisers", daemon=True)
        self._starting.start()

    def ready(self) -> bool:
        """Whether all processes are there, or one died on the way: texts given now are tokenised at once."""
        return not self._starting.is_alive()

    def _await_all(self) -> None:
        began = time.monotonic()
        try:
            for started in [self._executor.submit(os.getpid) for _ in range(self._processes)]:
                started.result()
        except BrokenProcessPool as exc:
            self.why_not = str(exc)
            return
        except OSError as exc:
            self.why_not = str(exc)
            self._all_there.abort()  # those that are there would wait for the one that could not be started
            return
        finally:
            self._pickled.close()
            self._pickled.unlink()
        seconds = round(time.monotonic() - began, 1)
        _log.info("Processes tokenise from now on.", processes=self._processes, seconds=seconds)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Tokens of every text, in order, or the reason there are none; waits until `ready`.

        Raises TokeniserLost when a process died.
        """
        self._starting.join()
        try:
            chunks = [*self._encoded(texts)]
        except BrokenProcessPool as exc:
            self.close()
            raise TokeniserLost(
                "A process that tokenises ahead of the device died.",
                hint="See the runner's log; POSTQ_TOKENISER_PROCESSES=0 tokenises in the runner itself.",
            ) from exc
        self._cpu_seconds += sum(chunk.cpu_seconds for chunk in chunks)
        return [text for chunk in chunks for text in from_chunk(chunk)]

    def take_cpu_seconds(self) -> float:
        """What the processes computed since the last time this was asked."""
        taken, self._cpu_seconds = self._cpu_seconds, 0.0
        return taken

    def close(self) -> None:
        """End the processes; what is still queued is dropped."""
        self._starting.join()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _encoded(self, texts: Sequence[str]) -> Iterator[EncodedChunk]:
        running: deque[Future[EncodedChunk]] = deque()
        for chunk in chunks_of(texts, processes=self._processes):
            running.append(self._executor.submit(_encode, chunk))
            if len(running) >= self._processes * CHUNKS_AHEAD:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def chunks_of(texts: Sequence[str], *, processes: int) -> Iterator[list[str]]:
    """Neighbouring texts, not too long, and few, so that each process has some; one too long is alone."""
    most = min(CHUNK_DOCUMENTS, -(-len(texts) // processes))
    chunk: list[str] = []
    characters = 0
    for text in texts:
        over = characters + len(text) > CHUNK_CHARACTERS
        if chunk and (over or len(chunk) == most):
            yield chunk
            chunk, characters = [], 0
        chunk.append(text)
        characters += len(text)
    if chunk:
        yield chunk


def _shared(content: bytes) -> SharedMemory:
    """Memory that other processes find by its name.

    A tokenizer is too large for the pipe that a process is started through: each start would wait until the
    one before has read its libraries.
    """
    memory = SharedMemory(create=True, size=len(content))
    assert memory.buf is not None
    memory.buf[: len(content)] = content
    return memory


def _start(all_there: Any, pickled: str) -> None:
    """First act of a process: it takes one core, gives way, and leaves when its parent does, however it ends.

    It takes no work before all are there; the executor would start no others while one has nothing to do.
    """
    global _tokeniser
    leave_with_parent()
    os.nice(NICENESS)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    memory = SharedMemory(pickled)
    assert memory.buf is not None
    _tokeniser = pickle.loads(memory.buf)  # noqa: S301  (written by this runner)
    memory.close()
    all_there.wait(START_SECONDS)


def _encode(texts: list[str]) -> EncodedChunk:
    assert _tokeniser is not None
    before = time.process_time()
    chunk = to_chunk(encode_each(_tokeniser, texts))
    return replace(chunk, cpu_seconds=time.process_time() - before)
