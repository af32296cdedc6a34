"""Making backbones in a process of its own: the command line never loads torch."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from postq import errors
from postq.errors import ExtraMissing, PostqError

MODULE = "postq.learning.encoder"


def make_tiny(folder: Path, *, snapshot: Path, seed: int) -> None:
    """Build the small Longformer in `folder`, its tokenizer trained on the snapshot's texts."""
    _run(["tiny", str(folder), "--seed", str(seed)], lines=_texts(snapshot))


def convert_to_longformer(source: Path, target: Path, *, max_tokens: int, window: int) -> None:
    """Write the BERT encoder in `source` as a Longformer to `target`."""
    sizes = ["--max-tokens", str(max_tokens), "--window", str(window)]
    _run(["convert", str(source), str(target), *sizes], lines=())


def _texts(snapshot: Path) -> Iterator[str]:
    from postq.corpus.snapshot import read_documents

    return (json.dumps(document.text) for document in read_documents(snapshot))


def _run(arguments: list[str], *, lines: Iterable[str]) -> None:
    """Run it, feed it lines, and raise the error it answers with. Raises ExtraMissing without torch."""
    if importlib.util.find_spec("torch") is None:
        raise ExtraMissing(
            "The extra 'encoders' is not installed here.",
            hint="Install it with: pip install 'postq[encoders]'.",
        )
    with subprocess.Popen(
        [sys.executable, "-m", MODULE, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError), process.stdin as feed:  # it may have failed before reading all
            feed.writelines(f"{line}\n" for line in lines)
        answer = process.stdout.read()
    _raise_if_failed(answer, process.returncode)


def _raise_if_failed(answer: str, code: int) -> None:
    if code == 0:
        return
    with suppress(ValueError, KeyError, AttributeError):
        told: dict[str, Any] = json.loads(answer.splitlines()[-1] if answer else "{}")
        kind: type[PostqError] = getattr(errors, told["error"])
        raise kind(told["message"], hint=told["hint"])
    raise RuntimeError(f"{MODULE} ended with exit code {code}")
