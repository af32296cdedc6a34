"""A source file's decompressed bytes, read once and in order, with a look at the first of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pyarrow as pa

from postq.corpus.location import Location
from postq.errors import CorpusUnreadable

HEAD_BYTES = 64 * 1024
"""How much is looked at to tell binary files and forms apart."""
CHUNK_BYTES = 1024 * 1024
CODECS = {".gz": "gzip", ".zst": "zstd"}
"""Compressions known by suffix."""

_MAGIC = {
    b"\x1f\x8b": "gzip data; name it .gz",
    b"\x28\xb5\x2f\xfd": "Zstandard data; name it .zst",
    b"PK\x03\x04": "a ZIP archive; unpack it first",
    b"PAR1": "Parquet; name it .parquet or give the form",
    b"%PDF": "a PDF file; extract its text first",
    b"\xff\xfe": "UTF-16 text; convert it to UTF-8",
    b"\xfe\xff": "UTF-16 text; convert it to UTF-8",
}


@dataclass(slots=True)
class Meter:
    """How far reading has come, in stored (compressed) bytes, and what it met; shared with who shows it."""

    bytes_done: int = 0
    bytes_total: int | None = None
    """None when some input does not tell its size."""
    forms: set[str] = field(default_factory=set)
    """Forms met so far."""


class ByteStream:
    """The decompressed bytes of one file."""

    def __init__(self, location: Location, raw: BinaryIO, meter: Meter) -> None:
        self.name = location.name
        self._raw = raw
        self._meter = meter
        self._before = meter.bytes_done
        codec = CODECS.get(location.suffixes[-1]) if location.suffixes else None
        self._reader: Any = pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), codec) if codec else raw
        self.head: bytes = self._read(HEAD_BYTES)
        """The first bytes; `chunks` yields them again."""

    def chunks(self) -> Iterator[bytes]:
        """All bytes from the start; may be called once. Raises CorpusUnreadable when they end badly."""
        chunk = self.head
        while chunk:
            yield chunk
            chunk = self._read(CHUNK_BYTES)

    def _read(self, size: int) -> bytes:
        try:
            data: bytes = self._reader.read(size)
            self._measure(len(data))
        except Exception as exc:  # OSError here, and whatever a remote driver's client raises
            raise _broken(self.name, exc) from exc
        return data

    def _measure(self, read: int) -> None:
        try:
            self._meter.bytes_done = self._before + self._raw.tell()
        except OSError:  # a pipe has no position
            self._meter.bytes_done += read


@contextmanager
def open_stream(location: Location, *, meter: Meter | None = None) -> Iterator[ByteStream]:
    """Open `location` for reading; compression goes by the suffix.

    Raises CorpusUnreadable when it cannot be opened or is compressed otherwise than its suffix says.
    """
    with open_stored(location) as raw:
        yield ByteStream(location, raw, meter or Meter())


@contextmanager
def open_stored(location: Location) -> Iterator[BinaryIO]:
    """Open the bytes as they are stored, seekable where the place they lie in allows it."""
    try:
        raw = location.open()
    except Exception as exc:
        raise CorpusUnreadable(
            f"'{location.name}' cannot be opened: {_sentence(exc)}.",
            hint="Check that this user may read it.",
        ) from exc
    with raw:
        yield raw


def refuse_binary(stream: ByteStream) -> None:
    """Raise CorpusUnreadable when the stream is empty or holds anything but text."""
    if not stream.head:
        raise CorpusUnreadable(
            f"'{stream.name}' is empty.", hint="Write the corpus again, or leave this file out."
        )
    for magic, meaning in _MAGIC.items():
        if stream.head.startswith(magic):
            raise _binary(stream.name, f"It looks like {meaning}.")
    if b"\x00" in stream.head:
        raise _binary(stream.name, "Give UTF-8 text: JSON lines, CSV or .txt; or Parquet by its suffix.")


def _binary(name: str, hint: str) -> CorpusUnreadable:
    return CorpusUnreadable(f"'{name}' is a binary file, not text.", hint=hint)


def _broken(name: str, exc: Exception) -> CorpusUnreadable:
    if "Truncated compressed stream" in str(exc):
        return CorpusUnreadable(
            f"'{name}' is cut off: its compressed data ends before it is complete.",
            hint="Copy or write the file again; to keep what is there, unpack it by hand and add the result.",
        )
    return CorpusUnreadable(
        f"'{name}' cannot be read to its end: {_sentence(exc)}.",
        hint="Copy or write the file again and check the disk or network it lies on.",
    )


def _sentence(exc: Exception) -> str:
    text = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
    return text.rstrip(".")
