"""The two streams: results on standard output, messages on the error stream, plain when not a terminal."""

import errno
import json
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from postq.errors import StorageUnavailable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDE = 10_000
"""Columns of a pipe or file: nothing is wrapped or cut for a program that reads it."""
STYLES = {"error": "bold red", "hint": "cyan", "note": "yellow"}


def ready_streams() -> None:
    """Let no command fail for what it prints, after `>&-` and in a locale that lacks the signs.

    Pipes and files get UTF-8 whatever the locale; a terminal shows `?` for a sign it lacks.
    """
    for name in ("stdout", "stderr"):
        stream: TextIOWrapper | None = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  (for good)
        elif stream.encoding.lower() != "utf-8":
            if stream.isatty():
                stream.reconfigure(errors="replace")
            else:
                stream.reconfigure(encoding="utf-8", errors=stream.errors)


def results() -> "Console":
    """The console of standard output."""
    return _console(sys.stdout)


def messages() -> "Console":
    """The console of the error stream, or of the live display on it."""
    return _lent[-1] if _lent else _console(sys.stderr)


_lent: "list[Console]" = []


@contextmanager
def messages_above(display: "Console") -> Iterator[None]:
    """Let messages go through the console of a live display: it would wipe out those that pass it by."""
    _lent.append(display)
    try:
        yield
    finally:
        _lent.pop()


def _console(stream: TextIO) -> "Console":
    from rich.console import Console

    width = None if stream.isatty() or "COLUMNS" in os.environ else WIDE
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def show(renderable: "RenderableType", *, style: str | None = None) -> None:
    """Print a result; into a pipe or file without the blanks that pad tables on a terminal.

    Flushed, so that a note that follows stands below it also where both streams go to one file.
    """
    console = results()
    with answering():
        if console.is_terminal:
            console.print(renderable, style=style, soft_wrap=isinstance(renderable, str))
            return
        with console.capture() as captured:
            console.print(renderable, soft_wrap=isinstance(renderable, str))
        sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


@contextmanager
def answering() -> Iterator[None]:
    """Flush what is written to standard output within. Raises StorageUnavailable where it takes no more."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough
        raise
    except OSError as exc:
        _drop_what_is_buffered()
        raise StorageUnavailable(
            f"The answer could not be written: {exc.strerror or exc}.",
            hint="Make room where standard output goes, then ask again.",
        ) from exc


def _drop_what_is_buffered() -> None:
    """Send what standard output still holds nowhere: Python would try again at its end, and exit with 120."""
    with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def say(text: str, *, style: str | None = None) -> None:
    """Print a message about what is going on; never part of a result."""
    console = messages()
    with to_nobody_if_closed():
        console.print(text, style=style, soft_wrap=not console.is_terminal)


def complain(kind: str, text: str) -> None:
    """Print `error: …`, `hint: …` or `note: …` on the error stream, on one line each."""
    line = clean(text)
    with to_nobody_if_closed():
        if not sys.stderr.isatty():
            sys.stderr.write(f"{kind}: {line}\n")
            return
        from rich.text import Text

        messages().print(Text.assemble((f"{kind}: ", STYLES[kind]), line))


@contextmanager
def to_nobody_if_closed() -> Iterator[None]:
    """Let a command go on whose terminal was closed: its words have no reader, its work still matters."""
    try:
        yield
    except OSError as exc:
        if exc.errno != errno.EIO:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def note(text: str) -> None:
    """Something the user should know although the command succeeded."""
    complain("note", text)


def show_json(value: Any) -> None:
    """Print one JSON value: a listing is an array, a single thing an object."""
    with answering():
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def show_json_line(value: Any) -> None:
    """Print one JSON object on a line of its own, at once: more will follow."""
    with answering():
        sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def clean(text: str) -> str:
    """`text` on one line without control characters, which could otherwise drive the terminal."""
    return "".join(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp") else char for char in text)
