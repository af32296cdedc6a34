"""Making backbones in a process of its own: the command line never loads torch."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from postq import errors
from postq.errors import ExtraMissing, PostqError

ROOM = "postq.learning.encoder.backbones"


def make_tiny(folder: Path, *, snapshot: Path, seed: int) -> None:
    """Build the small Longformer in `folder`, its tokenizer trained on the snapshot's texts."""
    _run("tiny", str(folder), "--snapshot", str(snapshot), "--seed", str(seed))


def convert_to_longformer(source: Path, target: Path, *, max_tokens: int, window: int) -> None:
    """Write the BERT encoder in `source` as a Longformer to `target`."""
    _run("convert", str(source), str(target), "--max-tokens", str(max_tokens), "--window", str(window))


def _run(program: str, *arguments: str) -> None:
    """Run it, and raise the error it ends with. Raises ExtraMissing without torch."""
    if importlib.util.find_spec("torch") is None:
        raise ExtraMissing(
            "The extra 'encoders' is not installed here.",
            hint="Install it with: pip install 'postq[encoders]'.",
        )
    command = [sys.executable, "-m", f"{ROOM}.{program}", *arguments]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise _told(program, done.returncode, done.stderr)


def _told(program: str, code: int, text: str) -> Exception:
    """The program's last two lines are a sentence and a hint; its exit code is that of their class."""
    lines = text.splitlines()
    kind = _class_of(code)
    if kind is None or len(lines) < 2:
        return RuntimeError(f"{ROOM}.{program} ended with exit code {code}: {text[-2000:]}")
    return kind(lines[-2], hint=lines[-1])


def _class_of(code: int) -> type[PostqError] | None:
    """The most general class with this exit code."""
    return next((found for found in _classes(PostqError) if found.exit_code == code and code != 1), None)


def _classes(cls: type[PostqError]) -> Iterator[type[PostqError]]:
    yield from (child for child in cls.__subclasses__() if child.__module__ == errors.__name__)
