"""Every command explains itself, and the reference says what the application does."""

import re
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from docs import cli_reference
from postq.cli.app import app
from postq.cli.command import EXIT_CODES, IN_SHORT
from postq.cli.printing.listing import LISTINGS

ROOT: Any = typer.main.get_command(app)
COMMANDS = dict(cli_reference.commands(ROOT))


@pytest.fixture(params=list(COMMANDS))
def command(request: pytest.FixtureRequest) -> tuple[str, Any]:
    """One command with its full name."""
    return request.param, COMMANDS[request.param]


def test_the_reference_is_what_the_application_does_now() -> None:
    assert cli_reference.PAGE.read_text(encoding="utf-8") == cli_reference.page(), (
        "`make docs` writes it anew"
    )


def test_all_commands_users_were_promised_are_there() -> None:
    assert {name.removeprefix("postq ") for name in COMMANDS} >= {
        *("submit-train", "submit-eval", "classify-corpus", "status", "cancel", "retry", "events"),
        *("corpus add", "corpus list", "corpus show", "corpus validate", "corpus synthesize"),
        *("predictions show", "predictions export", "bundles list", "bundles show", "bundles alias"),
        *("schedule add", "schedule list", "schedule pause", "schedule resume"),
        *("schedule remove", "schedule run-now", "worker", "up", "db upgrade", "db current", "doctor"),
    }


def test_a_paragraph_of_the_help_is_wrapped_by_the_terminal_alone(command: tuple[str, Any]) -> None:
    assert not re.search(r"[^\n]\n[^\n]", command[1].help)


def test_a_command_says_in_one_sentence_what_it_does(command: tuple[str, Any]) -> None:
    first = command[1].help.partition("\n\n")[0]
    assert first[0].isupper()
    assert first.endswith(".")


def test_every_parameter_has_help(command: tuple[str, Any]) -> None:
    assert [param.name for param in command[1].params if not param.help] == []


def test_every_example_is_a_command_line_that_parses(command: tuple[str, Any]) -> None:
    for example in cli_reference.facts_of(command[1]).examples:
        words = cli_reference.example_words(example)
        name = command[0].removeprefix("postq ").split()
        assert words[: len(name)] == name, example
        context = command[1].make_context(command[0], words[len(name) :])
        context.close()


def test_every_exit_code_is_a_documented_one(command: tuple[str, Any]) -> None:
    exits = cli_reference.facts_of(command[1]).exits
    assert set(exits) <= set(EXIT_CODES)
    assert set(exits) <= set(IN_SHORT), "the help needs a short word for it"


def test_the_help_of_every_command_fits_eighty_columns(command: tuple[str, Any]) -> None:
    done = CliRunner(env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).invoke(
        app, [*command[0].split()[1:], "--help"], prog_name="postq"
    )
    assert done.exit_code == 0
    assert max(map(len, done.output.splitlines())) <= 80
    assert "Exit codes" in done.output


def test_the_keys_of_every_listing_are_distinct_and_explained() -> None:
    for name, listing in LISTINGS.items():
        assert len(set(listing.keys)) == len(listing.keys), name
        assert all(re.fullmatch(r"[a-z][a-z0-9_]*", key) for key in listing.keys), name
        assert all(column.meaning for column in listing.columns), name


def test_help_without_a_command_lists_all_and_ends_well() -> None:
    done = CliRunner().invoke(app, ["--help"], prog_name="postq")
    assert done.exit_code == 0
    assert all(name.split()[1] in done.output for name in COMMANDS)
