"""Helper processes that score chunks: started clean, few chunks in flight, gone when their parent is."""

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import structlog

from postq.learning.tfidf.chunks import Chunk
from postq.learning.tfidf.model import ScoredTexts, TfidfModel, read_model
from postq.lifeline import leave_with_parent

logger = structlog.get_logger()

CHUNKS_AHEAD = 2
"""Chunks per process that are queued or being scored; bounds memory."""

_model: TfidfModel | None = None


def cpu_share() -> int:
    """Processes this runner may use: its thread setting if it has one, else the cores it may run on."""
    setting = os.environ.get("OMP_NUM_THREADS", "")
    if setting.isdigit() and int(setting) > 0:
        return int(setting)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ScoringPool:
    """Processes that each hold the model; kept between shards of one bundle."""

    def __init__(self, bundle: Path, *, labels: int, processes: int) -> None:
        # Spawned, not forked: the parent may hold threads and an accelerator's context.
        self._executor = ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(bundle, labels),
        )
        self._ahead = processes * CHUNKS_AHEAD
        self._started = [self._executor.submit(os.getpid) for _ in range(processes)]

    def ready(self) -> bool:
        """Whether a chunk given now is scored at once: each helper has loaded the model, or died of it."""
        return all(started.done() for started in self._started)

    def score(self, chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, ScoredTexts | None]]:
        """Each chunk with its scores, in order; None where the chunk raised.

        Raises BrokenProcessPool when a helper died. Chunks are drawn only as fast as scores are taken.
        """
        running: deque[tuple[Chunk, Future[ScoredTexts | None]]] = deque()
        for chunk in chunks:
            running.append((chunk, self._executor.submit(_score, chunk.texts)))
            if len(running) >= self._ahead:
                yield _finished(*running.popleft())
        while running:
            yield _finished(*running.popleft())

    def close(self) -> None:
        """End the processes; what is still queued is dropped."""
        self._executor.shutdown(wait=True, cancel_futures=True)


def score_texts(model: TfidfModel, texts: list[str]) -> ScoredTexts | None:
    """Scores of a chunk, or None when something in it raised."""
    try:
        return model.score(texts)
    except Exception as exc:
        logger.warning("A chunk could not be scored as a whole.", error=repr(exc), documents=len(texts))
        return None


def _finished(chunk: Chunk, future: "Future[ScoredTexts | None]") -> tuple[Chunk, ScoredTexts | None]:
    return chunk, future.result()


def _start(bundle: Path, labels: int) -> None:
    """First act of a helper: load the model, and leave when the parent does, however it ends."""
    global _model
    leave_with_parent()
    _model = read_model(bundle, labels=labels)


def _score(texts: list[str]) -> ScoredTexts | None:
    assert _model is not None
    return score_texts(_model, texts)
