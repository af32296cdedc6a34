"""Declaring a command: its panel in the help, its examples and its exit codes, in one place."""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any, TypeVar

import typer

from postq.cli.printing.help import HelpfulCommand, HelpfulGroup

Body = TypeVar("Body", bound=Callable[..., Any])

EXIT_CODES: dict[int, str] = {
    0: "done",
    1: "another error",
    2: "wrong usage",
    3: "input that cannot be used",
    4: "not found",
    5: "the state of the thing forbids it",
    6: "database, disk, device or settings not as needed",
    7: "database schema and code differ",
    8: "a digest or the honesty of a number is in doubt",
    10: "the job waited for failed",
    11: "the job waited for was cancelled",
    12: "the job waited for succeeded with quarantined documents",
    13: "an alarm of `postq drift` fired",
    70: "a bug in postq",
    130: "Ctrl-C",
}
"""Every code `postq` can end with. The help of a command repeats only those that are its own."""

IN_SHORT: dict[int, str] = {
    0: "done",
    3: "bad input",
    4: "not found",
    5: "conflict",
    6: "surroundings",
    7: "schema",
    8: "integrity",
    10: "job failed",
    11: "job cancelled",
    12: "with quarantine",
    13: "alarm",
}
"""The same in a word or two, for the help of a command."""

ON_DATABASE = (6, 7)
"""Codes of every command that opens the database."""


@dataclass(frozen=True, kw_only=True)
class CommandFacts:
    """What the help and the reference say about a command besides its parameters."""

    name: str
    examples: tuple[str, ...]
    exits: tuple[int, ...]
    """Codes of this command, success included, besides those possible everywhere."""


FACTS: dict[Callable[..., Any], CommandFacts] = {}


def command(name: str, *, examples: tuple[str, ...], exits: tuple[int, ...] = ()) -> Callable[[Body], Body]:
    """Declare a function to be the command `name`; `attach` or `group` puts it into an application."""

    def declare(body: Body) -> Body:
        FACTS[body] = CommandFacts(name=name, examples=examples, exits=tuple(sorted({0, *exits})))
        return body

    return declare


def attach(app: typer.Typer, *bodies: Callable[..., Any], panel: str | None = None) -> None:
    """Add declared commands to an application, in this order."""
    for body in bodies:
        facts = FACTS[body]
        told = _reflowed(body.__doc__ or "")
        declare = app.command(
            facts.name, cls=HelpfulCommand, help=told, epilog=_epilog(facts), rich_help_panel=panel
        )
        declare(body)


def group(help_text: str, *bodies: Callable[..., Any]) -> typer.Typer:
    """A noun with several verbs, such as `postq corpus`."""
    app = typer.Typer(cls=HelpfulGroup, help=help_text, no_args_is_help=True, rich_markup_mode="rich")
    attach(app, *bodies)
    return app


def _reflowed(docstring: str) -> str:
    """Each paragraph on one line: Typer keeps the ends of lines, which are those of the source."""
    paragraphs = cleandoc(docstring).split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _epilog(facts: CommandFacts) -> str:
    examples = "\n".join(f"  {example.replace('[', chr(92) + '[')}" for example in facts.examples)
    codes = " · ".join(f"{code}\u00a0{IN_SHORT[code].replace(' ', chr(160))}" for code in facts.exits)
    title = "Example" if len(facts.examples) == 1 else "Examples"
    return f"[bold]{title}[/bold]\n{examples}\n\n[bold]Exit codes[/bold]\n  [dim]{codes}[/dim]"
