"""Writes docs/cli_reference.md from the application itself: commands, options, examples, exit codes, keys."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from postq.cli.app import app
from postq.cli.command import EXIT_CODES, FACTS, CommandFacts
from postq.cli.printing.listing import LISTINGS

PAGE = Path(__file__).with_suffix(".md")
INTRODUCTION = """# Command line reference

Written by `make docs` from the application itself; a test compares the two.

Results go to standard output, messages to the error stream. Global options stand before the command:
`postq --home /data/postq status`. Each setting can also be given as `POSTQ_<NAME>` or in `postq.toml`;
`postq doctor` shows every one and where its value came from.

Every command can also end with 1 (another error), 2 (wrong usage), 70 (a bug in postq) and 130 (Ctrl-C);
[exit_codes.md](exit_codes.md) lists all codes."""


def page() -> str:
    """The whole document."""
    root: Any = typer.main.get_command(app)
    parts = [INTRODUCTION, "## Global options", options_table(root)]
    parts += [command_section(name, command) for name, command in commands(root)]
    parts += ["## Keys of JSON listings", JSON_INTRODUCTION, *map(listing_section, sorted(LISTINGS))]
    return "\n\n".join(parts) + "\n"


JSON_INTRODUCTION = """With `--json` a listing is an array of objects with exactly these keys, and a single
thing is one such object. Keys are not renamed or removed within a major version; new ones may come. Times are
ISO 8601 in UTC."""


def commands(group: Any, *, path: str = "postq") -> Iterator[tuple[str, Any]]:
    """Every command with its full name, in the order of the help."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, path=f"{path} {name}")
        else:
            yield f"{path} {name}", command


def facts_of(command: Any) -> CommandFacts:
    """Examples and exit codes of a command."""
    return FACTS[
        command.callback.__wrapped__ if hasattr(command.callback, "__wrapped__") else command.callback
    ]


def command_section(name: str, command: Any) -> str:
    """Heading, help, usage, parameters, examples, exit codes of one command."""
    facts = facts_of(command)
    examples = "\n".join(facts.examples)
    codes = " · ".join(f"`{code}` {EXIT_CODES[code]}" for code in facts.exits)
    parts = [
        f"## {name}",
        paragraphs(command.help),
        f"```\n{usage(name, command)}\n```",
        arguments_table(command),
        options_table(command),
        f"```console\n{examples}\n```",
        f"Exit codes: {codes}.",
    ]
    return "\n\n".join(part for part in parts if part)


def paragraphs(text: str | None) -> str:
    """A docstring with each paragraph on one line."""
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", (text or "").strip()))


def usage(name: str, command: Any) -> str:
    """The command line in one line."""
    arguments = [argument_name(param) for param in arguments_of(command)]
    return " ".join([name, "[OPTIONS]", *arguments])


def arguments_of(command: Any) -> list[Any]:
    """Positional parameters."""
    return [param for param in command.params if param.param_type_name == "argument"]


def argument_name(param: Any) -> str:
    """`CORPUS`, or `[JOB]` when it may be left out."""
    name = str(param.metavar or param.name).strip("[]")
    return name if param.required else f"[{name}]"


def arguments_table(command: Any) -> str:
    """Positional parameters with their meaning."""
    rows = [f"| `{argument_name(param)}` | {cell(param.help)} |" for param in arguments_of(command)]
    return "\n".join(["| argument | meaning |", "|---|---|", *rows]) if rows else ""


def options_table(command: Any) -> str:
    """Options with their values, defaults and meaning; `--help` goes without saying."""
    options = [param for param in command.params if param.param_type_name == "option" and not param.hidden]
    rows = [
        f"| {spelling(param)} | {default_of(param)} | {cell(param.help)} |"
        for param in options
        if param.name != "help"
    ]
    return "\n".join(["| option | default | meaning |", "|---|---|---|", *rows]) if rows else ""


def spelling(param: Any) -> str:
    """`--limit N`, `--json`, `--flaws / --no-flaws`."""
    names = ", ".join([*param.opts, *param.secondary_opts])
    return f"`{names}`" if param.is_flag else f"`{names} {value_of(param)}`"


def value_of(param: Any) -> str:
    """What stands for the value: its metavar or its choices."""
    if param.metavar:
        return str(param.metavar).replace("|", "\\|")
    choices = param.type_descriptor.choices
    return "\\|".join(map(str, choices)) if choices else "VALUE"


def default_of(param: Any) -> str:
    """The default where there is one worth telling."""
    if param.required:
        return "required"
    if param.default is None or param.is_flag:
        return ""
    return f"`{param.default}`"


def cell(text: str | None) -> str:
    """Text that fits a table's cell."""
    return " ".join((text or "").split()).replace("|", "\\|")


def listing_section(name: str) -> str:
    """The keys of one listing."""
    rows = [f"| `{column.key}` | {cell(column.meaning)} |" for column in LISTINGS[name].columns]
    return "\n".join([f"### postq {name}", "", "| key | meaning |", "|---|---|", *rows])


def example_words(example: str) -> list[str]:
    """The words of an example after `postq`, up to a pipe."""
    words = shlex.split(example)
    return words[1 : words.index("|")] if "|" in words else words[1:]


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
