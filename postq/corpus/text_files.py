"""Folders of .txt files: one document per file, its id the path below the folder, sorted."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from postq.contracts.document import SplitName
from postq.corpus.fields import parse_id, parse_text
from postq.corpus.lines import MAX_RECORD_BYTES
from postq.corpus.location import Location, locate, relative_name
from postq.corpus.records import RawRecord, Section, SetAside, SetAsideReason, UnfitRecord
from postq.corpus.streams import ByteStream, Meter, open_stream
from postq.errors import CorpusUnreadable

SUFFIXES = (".txt", ".txt.gz", ".txt.zst")


def read_text_files(
    place: Location, *, roots: Sequence[str] = (), split: SplitName | None = None, meter: Meter | None = None
) -> Iterator[RawRecord | SetAside]:
    """Read every .txt file below a folder in sorted order, or the one file `place` is.

    Links that lead out of `roots` raise BadInput; a folder without any .txt raises CorpusUnreadable.
    """
    number = 0
    for number, (identifier, location) in enumerate(_files(place, roots=roots), start=1):
        name = place.name if location.path == place.path else f"{place.name.rstrip('/')}/{identifier}"
        try:
            with open_stream(location, meter=meter) as stream:
                yield _record(stream, identifier=identifier, source=name, number=number, split=split)
        except UnfitRecord as unfit:
            unfit.document_id = identifier
            yield unfit.set_aside(name, number)
    if not number:
        raise CorpusUnreadable(
            f"The folder '{place.name}' holds no .txt file.",
            hint="Name the JSON lines, CSV or Parquet files in it one by one.",
        )


def _files(place: Location, *, roots: Sequence[str]) -> Iterator[tuple[str, Location]]:
    if not place.is_folder:
        yield Path(place.path).name, place
    elif place.remote:
        for path in sorted(place.remote.find(place.path)):
            if path.lower().endswith(SUFFIXES):
                yield relative_name(path, place.path), Location(name=path, path=path, remote=place.remote)
    else:
        for path in _walk(place.path):
            yield relative_name(path, place.path), locate(path, roots=roots)


def _walk(folder: str) -> Iterator[str]:
    """Local .txt files below `folder` in the order of their whole paths; linked folders are not entered."""
    try:
        with os.scandir(folder) as entries:
            places = sorted((entry.name + "/" if _is_folder(entry) else entry.name) for entry in entries)
    except OSError as exc:
        raise CorpusUnreadable(
            f"The folder '{folder}' cannot be read: {exc.strerror or exc}.",
            hint="Check that this user may read it and what is in it.",
        ) from exc
    for name in places:
        if name.endswith("/"):
            yield from _walk(os.path.join(folder, name[:-1]))  # noqa: PTH118  (paths need not be UTF-8)
        elif name.lower().endswith(SUFFIXES):
            yield str(Path(folder) / name)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    return entry.is_dir(follow_symlinks=False)


def _record(
    stream: ByteStream, *, identifier: str, source: str, number: int, split: SplitName | None
) -> RawRecord:
    text = _decode(_bounded(stream))
    return RawRecord(
        source=source,
        number=number,
        document_id=parse_id(identifier),
        sections=(Section(heading=None, paragraphs=parse_text(text, field="text")),),
        split=split,
    )


def _bounded(stream: ByteStream) -> bytes:
    parts = []
    size = 0
    for chunk in stream.chunks():
        size += len(chunk)
        if size > MAX_RECORD_BYTES:
            raise UnfitRecord(SetAsideReason.TOO_LONG, "the file is larger than the cap on one record")
        parts.append(chunk)
    return b"".join(parts)


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise UnfitRecord(SetAsideReason.INVALID_UTF8, f"byte {exc.start} of the file is not UTF-8") from exc
