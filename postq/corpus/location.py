"""Where a corpus is read from: a local path or an fsspec URL, confined to the roots the settings allow."""

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

import fsspec

from postq.contracts.document import SplitName
from postq.errors import BadInput, CorpusUnreadable, ExtraMissing

SPLIT_NAMES: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
"""Spellings of a split that are understood, in lower case."""

_LOCAL_SCHEME = re.compile(r"(file|local)://", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/@]*@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One file, folder or URL to read, and the official split of all its documents if it has one."""

    path: str
    split: SplitName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """A file or folder that may be read."""

    name: str
    """How it is shown and recorded: without credentials."""
    path: str
    """Local: absolute, symbolic links followed. Remote: the path inside the file system."""
    remote: Any = None
    """The fsspec file system; None for local paths."""

    @property
    def suffixes(self) -> list[str]:
        """Lower-case suffixes, such as ['.jsonl', '.gz']."""
        return [suffix.lower() for suffix in Path(self.path).suffixes]

    @property
    def is_folder(self) -> bool:
        """True for a local or remote folder."""
        return bool(self.remote.isdir(self.path)) if self.remote else Path(self.path).is_dir()

    def size_bytes(self) -> int | None:
        """Size of the file as stored, None where it has none (a pipe) or it is not told."""
        size = self.remote.size(self.path) if self.remote else Path(self.path).stat().st_size
        return int(size) or None if size is not None else None

    def open(self) -> BinaryIO:
        """Open the file's stored bytes; the caller closes it."""
        if self.remote:
            return cast("BinaryIO", self.remote.open(self.path, "rb"))
        return Path(self.path).open("rb")


def parse_split_input(text: str) -> Input:
    """Read `SPLIT=PATH`, as `--split train=FILE` gives it.

    Raises BadInput when there is no `=` or the split's name is unknown.
    """
    name, equals, path = text.partition("=")
    split = SPLIT_NAMES.get(name.strip().lower())
    if not equals or split is None or not path:
        raise BadInput(
            f"'{text}' does not say which split a file holds.",
            hint="Write train=FILE, validation=FILE or test=FILE.",
        )
    return Input(path=path, split=split)


def locate(path: str, *, roots: Sequence[str] = ()) -> Location:
    """Find what `path` names and check that it lies under one of `roots` (none: anywhere).

    Symbolic links and `..` are resolved before the check. Raises BadInput outside the roots or for a
    URL that cannot be checked, CorpusUnreadable when nothing is there, ExtraMissing without a driver.
    """
    if "://" in path and not _LOCAL_SCHEME.match(path):
        return _locate_remote(path, roots=roots)
    return _locate_local(_LOCAL_SCHEME.sub("", path, count=1), roots=roots)


def _locate_local(path: str, *, roots: Sequence[str]) -> Location:
    try:
        resolved = Path(path).expanduser().resolve()
        exists = resolved.exists()
    except (OSError, RuntimeError, ValueError) as exc:
        raise _not_there(path) from exc
    if roots:
        _confine(
            str(resolved), roots=[str(_local_root(root)) for root in roots if _is_local(root)], shown=path
        )
    if not exists:
        raise _not_there(path)
    return Location(name=_printable(path), path=str(resolved))


def _locate_remote(url: str, *, roots: Sequence[str]) -> Location:
    shown = _printable(_USERINFO.sub("", url))
    if "::" in url or ".." in unquote(url).split("/"):
        raise BadInput(
            f"'{shown}' is a chained or relative URL, which cannot be checked against the corpus roots.",
            hint="Give the plain URL of the file, without '::' or '..'.",
        )
    if roots:
        _confine(shown, roots=[root for root in roots if not _is_local(root)], shown=shown)
    try:
        filesystem, inner = fsspec.core.url_to_fs(url)
        exists = filesystem.exists(inner)
    except ImportError as exc:
        raise ExtraMissing(
            f"Reading '{shown}' needs a driver that is not installed.",
            hint=f"Install the fsspec driver it names: {exc}.",
        ) from exc
    except ValueError as exc:
        raise BadInput(
            f"'{shown}' is not a URL postq can read: {exc}.",
            hint="Use a local path, or a URL such as s3://bucket/file.jsonl.gz.",
        ) from exc
    except Exception as exc:  # each driver raises errors of its own client library
        raise CorpusUnreadable(
            f"'{shown}' cannot be reached: {_first_line(exc)}.",
            hint="Check the URL, the network and this machine's credentials for it.",
        ) from exc
    if not exists:
        raise _not_there(shown)
    return Location(name=shown, path=inner, remote=filesystem)


def _confine(place: str, *, roots: Sequence[str], shown: str) -> None:
    """Refuse `place` unless it is one of `roots` or lies below one."""
    if any(_lies_under(place, root) for root in roots):
        return
    raise BadInput(
        f"'{_printable(shown)}' lies outside the folders corpora may be read from.",
        hint="Move it under one of POSTQ_CORPUS_ROOTS, or have that setting extended.",
    )


def _lies_under(place: str, root: str) -> bool:
    return place == root or place.startswith(root.rstrip("/") + "/")


def _is_local(root: str) -> bool:
    return "://" not in root or bool(_LOCAL_SCHEME.match(root))


def _local_root(root: str) -> Path:
    return Path(_LOCAL_SCHEME.sub("", root, count=1)).expanduser().resolve()


def _not_there(shown: str) -> CorpusUnreadable:
    return CorpusUnreadable(
        f"There is no file or folder '{_printable(shown)}'.",
        hint="Check the spelling; relative paths start at the working folder.",
    )


def _printable(name: str) -> str:
    """A name that can be stored and shown even where the file system's own is not UTF-8."""
    return name.encode("utf-8", errors="replace").decode("utf-8")


def _first_line(exc: Exception) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0]


def relative_name(path: str, folder: str) -> str:
    """`path` below `folder`, with forward slashes."""
    return posixpath.relpath(path.replace("\\", "/"), folder.replace("\\", "/"))
