"""Lines of a byte stream under a cap on their length, so that one enormous line takes no memory."""

from collections.abc import Iterable, Iterator

MAX_RECORD_BYTES = 32 * 1024 * 1024
"""Cap on one line, cell or .txt file; the longest real judgment known to us has 2.5 MB."""


def bounded_lines(chunks: Iterable[bytes], *, limit: int = MAX_RECORD_BYTES) -> Iterator[bytes | None]:
    """Yield each line without its newline; None stands for a line of more than `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            size += end - start
            yield b"".join([*parts, chunk[start:end]]) if size <= limit else None
            parts.clear()
            size, start = 0, end + 1
        size += len(chunk) - start
        if size <= limit:
            parts.append(chunk[start:])
        else:
            parts.clear()
    if size:
        yield b"".join(parts) if size <= limit else None
