"""Makes backbones as a process of its own: the command line asks for them and never loads torch itself.

    python -m postq.learning.encoder tiny FOLDER --seed N        texts on stdin, one JSON string per line
    python -m postq.learning.encoder convert SOURCE TARGET --max-tokens N --window N

Answers with one JSON object on stdout: empty, or the error's class, message and hint.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from postq.errors import PostqError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the two and answer; 0 when it succeeded, else the error's exit code."""
    given = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], None] = given.run
    try:
        run(given)
    except PostqError as exc:
        _answer({"error": type(exc).__name__, "message": exc.message, "hint": exc.hint})
        return exc.exit_code
    _answer({})
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m postq.learning.encoder", description=__doc__)
    kinds = parser.add_subparsers(required=True)
    tiny = kinds.add_parser("tiny")
    tiny.add_argument("folder", type=Path)
    tiny.add_argument("--seed", type=int, required=True)
    tiny.set_defaults(run=_tiny)
    convert = kinds.add_parser("convert")
    convert.add_argument("source", type=Path)
    convert.add_argument("target", type=Path)
    convert.add_argument("--max-tokens", type=int, required=True)
    convert.add_argument("--window", type=int, required=True)
    convert.set_defaults(run=_convert)
    return parser


def _tiny(given: argparse.Namespace) -> None:
    from postq.learning.encoder.tiny import build_tiny_longformer

    build_tiny_longformer(given.folder, texts=map(json.loads, sys.stdin), seed=given.seed)


def _convert(given: argparse.Namespace) -> None:
    from postq.learning.encoder.convert import convert_bert_to_longformer

    convert_bert_to_longformer(given.source, given.target, max_tokens=given.max_tokens, window=given.window)


def _answer(value: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")


if __name__ == "__main__":
    sys.exit(main())
