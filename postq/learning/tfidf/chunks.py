"""Cutting a stream of documents into chunks of about equal work."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from postq.contracts.document import Document

CHUNK_CHARACTERS = 500_000
"""Several to a shard, so that all processes have work to its end; smaller ones cost nothing either."""
CHUNK_DOCUMENTS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some documents of a stream: what a process scores in one go."""

    rows: list[int]
    texts: list[str]


def chunked(documents: Iterable[Document]) -> Iterator[Chunk]:
    """Chunks of about CHUNK_CHARACTERS, at most CHUNK_DOCUMENTS documents; a longer document stands alone."""
    rows: list[int] = []
    texts: list[str] = []
    characters = 0
    for document in documents:
        rows.append(document.row)
        texts.append(document.text)
        characters += len(document.text)
        if characters >= CHUNK_CHARACTERS or len(rows) >= CHUNK_DOCUMENTS:
            yield Chunk(rows=rows, texts=texts)
            rows, texts, characters = [], [], 0
    if rows:
        yield Chunk(rows=rows, texts=texts)
