"""Bulk scoring with a TF-IDF bundle: chunks of documents, spread over processes, at bounded memory."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from itertools import chain

import numpy as np
import structlog

from postq.contracts.document import Document
from postq.contracts.scoring import DocumentFailure, ScoreBatch
from postq.counted import counted
from postq.learning.bundle.bundle import Bundle
from postq.learning.hooks import StopRequested, never_stop
from postq.learning.tfidf.chunks import Chunk, chunked
from postq.learning.tfidf.model import ScoredTexts, read_model
from postq.learning.tfidf.pool import ScoringPool, cpu_share, score_texts

logger = structlog.get_logger()

OnFailure = Callable[[DocumentFailure], None]
POOL_CHUNKS = 32
"""So many chunks, over all shards, are scored in this process before others are started beside it."""


class TfidfScorer:
    """A loaded TF-IDF bundle; satisfies `learning.scorer.Scorer`."""

    def __init__(self, bundle: Bundle, *, processes: int | None = None) -> None:
        self._labels = bundle.labels
        self._model = read_model(bundle.path, labels=len(bundle.labels))
        self._path = bundle.path
        self._processes = cpu_share() if processes is None else processes
        self._pool: ScoringPool | None = None
        self._scored_alone = 0

    @property
    def labels(self) -> tuple[str, ...]:
        """Column order of the scores."""
        return self._labels

    def score(
        self,
        documents: Iterable[Document],
        *,
        on_failure: OnFailure,
        should_stop: Callable[[], bool] = never_stop,
    ) -> Iterator[ScoreBatch]:
        """Scores in order of the documents; those without one known word go to `on_failure`.

        Memory holds a few chunks of text, whatever the number of documents.
        """
        for chunk, scored in self._scored(chunked(documents)):
            if should_stop():
                raise StopRequested
            parts = [(chunk, scored)] if scored else self._one_by_one(chunk, on_failure)
            for part, scores in parts:
                yield _batch(part, scores, on_failure)

    def close(self) -> None:
        """End the helper processes; the scorer stays usable and starts new ones when needed."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _scored(self, chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, ScoredTexts | None]]:
        yield from self._scored_here(self._until_helped(chunks))
        yield from self._scored_by_pool(chunks)

    def _until_helped(self, chunks: Iterator[Chunk]) -> Iterator[Chunk]:
        """Chunks until helpers are there; they start meanwhile."""
        while not self._helped():
            chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    def _helped(self) -> bool:
        """Whether helpers are ready; starts them once there has been enough work to be worth it."""
        if self._pool is None and self._processes > 1 and self._scored_alone >= POOL_CHUNKS:
            self._pool = ScoringPool(self._path, labels=len(self._labels), processes=self._processes)
        return self._pool is not None and self._pool.ready()

    def _scored_here(self, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, ScoredTexts | None]]:
        for chunk in chunks:
            self._scored_alone += 1
            yield chunk, score_texts(self._model, chunk.texts)

    def _scored_by_pool(self, chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, ScoredTexts | None]]:
        if self._pool is None:
            return
        drawn = _Remembered(chunks)
        try:
            for chunk, scored in self._pool.score(drawn):
                drawn.done()
                yield chunk, scored
        except BrokenProcessPool:
            # Scored here, a document that kills its process kills the runner, and the engine isolates it.
            logger.warning("A scoring process died; going on in the runner itself.")
            self.close()
            yield from self._scored_here(chain(drawn.open(), chunks))

    def _one_by_one(self, chunk: Chunk, on_failure: OnFailure) -> Iterator[tuple[Chunk, ScoredTexts]]:
        """Score a chunk that raised document by document, so that only the culprit is set aside."""
        for row, text in zip(chunk.rows, chunk.texts, strict=True):
            try:
                scored = self._model.score([text])
            except Exception as exc:
                on_failure(DocumentFailure(row=row, error=f"{type(exc).__name__}: {exc}"))
            else:
                yield Chunk(rows=[row], texts=[text]), scored


class _Remembered:
    """Passes chunks on and remembers those whose scores have not come back."""

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._chunks = chunks
        self._open: list[Chunk] = []

    def __iter__(self) -> "_Remembered":
        return self

    def __next__(self) -> Chunk:
        self._open.append(next(self._chunks))
        return self._open[-1]

    def done(self) -> None:
        """The oldest open chunk came back."""
        self._open.pop(0)

    def open(self) -> list[Chunk]:
        """Chunks drawn and not come back, oldest first."""
        return self._open


def _batch(chunk: Chunk, scored: ScoredTexts, on_failure: OnFailure) -> ScoreBatch:
    """The documents with a known word; the others are told to `on_failure`."""
    for at in np.flatnonzero(~scored.known).tolist():
        words = int(scored.tokens[at])
        on_failure(
            DocumentFailure(
                row=chunk.rows[at],
                error=f"None of the document's {counted(words, 'word')} is known to the bundle: "
                "it cannot be scored.",
            )
        )
    kept = scored.known
    return ScoreBatch(
        rows=np.array(chunk.rows, np.int64)[kept],
        scores=scored.scores[kept],
        tokens_total=scored.tokens[kept],
        tokens_seen=scored.tokens[kept],
    )
