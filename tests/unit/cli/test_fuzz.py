"""Whatever is typed, a command ends with a documented exit code and never as a bug."""

from pathlib import Path
from typing import Any

import pytest
import typer.main
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from docs import cli_reference
from postq.cli.app import app
from postq.cli.command import EXIT_CODES

COMMANDS = dict(cli_reference.commands(typer.main.get_command(app)))
ENDLESS = {"postq up", "postq worker", "postq corpus synthesize", "postq bundles convert"}
"""These run until they are stopped, for as long as the number given, or load torch first."""
WAITING = {"wait", "watch"}
words = st.sampled_from(
    [
        *(
            "",
            "0",
            "1",
            "-1",
            "-",
            "--",
            "7.5",
            "nan",
            "1e309",
            "99999999999999999999",
            "x",
            "x=1",
            "@x",
            "x@1",
        ),
        *("job:1", "job:", "any", "tfidf", "json", "csv", "all", "10GB", "GB", "a" * 300, "é", "\udcff", "%"),
        *(
            "nowhere/file.jsonl",
            "..",
            "0 3 * * *",
            "Europe/Berlin",
            "2026-01-01",
            "s3://x/y",
            "[bold]",
            "'; --",
        ),
    ]
)


def options(command: Any) -> list[Any]:
    """The options of a command that do not make it wait."""
    return [
        param for param in command.params if param.param_type_name == "option" and param.name not in WAITING
    ]


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A real command with some of its options, all values taken from anywhere."""
    name = draw(st.sampled_from(sorted(set(COMMANDS) - ENDLESS)))
    command = COMMANDS[name]
    line = [*name.split()[1:], *draw(st.lists(words, max_size=3))]
    if known := options(command):
        for option in draw(st.lists(st.sampled_from(known), max_size=3)):
            line.append(draw(st.sampled_from(option.opts)))
            line += [] if option.is_flag else [draw(words)]
    return line


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=command_lines())
def test_no_command_line_is_met_by_a_bug(
    line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, line)
    assert done.exit_code in EXIT_CODES, (line, done.output, done.exception)
