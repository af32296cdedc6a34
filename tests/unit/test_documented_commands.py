"""Every `postq` command line in the documents is one the CLI accepts."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from postq.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", "docs/quickstart.md", "docs/operations.md", "docs/security.md")
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
IN_FENCE = re.compile(r"^(?:docker compose exec worker-cpu )?(postq [a-z].*?)(?: +#.*| &)*$", re.MULTILINE)
INLINE = re.compile(r"`(postq [a-z][^`]*)`")


def documented() -> Iterator[tuple[str, str]]:
    """(page, command line) for each postq command in a page's code, with a number where JOB stands."""
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        blocks = FENCED.findall(text)
        lines = [line for block in blocks for line in IN_FENCE.findall(block)] + INLINE.findall(text)
        for line in dict.fromkeys(lines):
            yield page, line.replace("JOB", "1")


def parse(words: list[str]) -> None:
    """Parse a command line down to its last subcommand, running nothing; raises on wrong usage."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("postq", list(words))
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, context._protected_args + context.args)
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize(
    ("page", "line"), [pytest.param(*found, id=": ".join(found)) for found in documented()]
)
def test_the_cli_accepts(page: str, line: str) -> None:
    try:
        parse(shlex.split(line)[1:])
    except typer.Exit:
        pass  # `--help` ends parsing well
    except typer.TyperException as exc:
        if type(exc).__name__ != "MissingParameter":  # prose may name a command without its arguments
            raise


def test_the_check_refuses_what_the_cli_does_not_know() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(["submit-train", "opinions", "--presett", "tfidf"])


def test_commands_are_found_in_the_documents() -> None:
    assert len(list(documented())) >= 12
