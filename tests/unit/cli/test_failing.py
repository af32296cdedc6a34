"""Every way a command can fail: two lines and an exit code, and a bug says that it is one."""

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from postq import errors
from postq.cli.command import EXIT_CODES
from postq.cli.failing import FailingClearly
from postq.cli.invocation import Invocation


def app_that_raises(error: BaseException, flags: dict[str, str] | None = None) -> typer.Typer:
    """An application whose command `go` raises `error`."""
    app = typer.Typer(cls=FailingClearly, pretty_exceptions_enable=False)

    @app.callback()
    def remember(ctx: typer.Context, *, verbose: bool = False) -> None:
        ctx.obj = Invocation(flags=flags or {}, verbose=verbose)

    @app.command("go")
    def go() -> None:
        raise error

    return app


def run(error: BaseException, *arguments: str, flags: dict[str, str] | None = None) -> Result:
    """Run a command that raises `error`."""
    return CliRunner().invoke(app_that_raises(error, flags), [*arguments, "go"])


def every_error() -> list[type[errors.PostqError]]:
    def below(cls: type[errors.PostqError]) -> list[type[errors.PostqError]]:
        return [cls, *(found for child in cls.__subclasses__() for found in below(child))]

    return [cls for cls in below(errors.PostqError) if cls.__module__ == errors.__name__]


@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
def test_each_error_is_two_lines_and_its_own_exit_code(cls: type[errors.PostqError]) -> None:
    done = run(cls("It is broken.", hint="Mend it."))
    assert done.exit_code == cls.exit_code
    assert done.exit_code in EXIT_CODES
    assert done.stderr == "error: It is broken.\nhint: Mend it.\n"
    assert done.stdout == ""


def test_verbose_adds_the_traceback_of_an_error() -> None:
    done = run(errors.NotFound("It is not there.", hint="Look."), "--verbose")
    assert done.exit_code == 4
    assert "Traceback" in done.stderr


def test_a_message_that_spans_lines_or_drives_terminals_comes_out_on_one_plain_line() -> None:
    done = run(errors.BadInput("first\nsecond \x1b[31mred\x1b]0;title\x07", hint="a\r\nb"))
    assert done.stderr.splitlines() == ["error: first second  [31mred ]0;title ", "hint: a  b"]


def test_a_bug_says_so_and_keeps_its_traceback_in_a_file(isolated_settings: Path) -> None:
    done = run(KeyError("surprise"))
    log = isolated_settings / "logs" / "cli.log"
    assert done.exit_code == 70
    assert done.stderr.splitlines()[0] == "error: This is a bug in postq: KeyError: 'surprise'"
    assert str(log) in done.stderr or "~/" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in log.read_text()


def test_a_bug_shows_its_traceback_when_asked_to() -> None:
    done = run(ZeroDivisionError("division by zero"), "--verbose")
    assert done.exit_code == 70
    assert "Traceback" in done.stderr


def test_a_bug_with_settings_that_cannot_be_read_still_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTQ_LEASE_SECONDS", "never")
    done = run(RuntimeError("deep down"))
    assert done.exit_code == 70
    assert "deep down" in done.stderr


def test_no_password_of_a_flag_reaches_the_screen_or_the_log(isolated_settings: Path) -> None:
    url = "postgresql://user:s3cret-pass@host/db"
    done = run(RuntimeError(f"could not open {url}"), "--verbose", flags={"database_url": url})
    assert "s3cret" not in done.output
    assert "s3cret" not in (isolated_settings / "logs" / "cli.log").read_text()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Exit(12)], ids=["Ctrl-C", "exit"])
def test_what_is_no_error_passes_through(error: BaseException) -> None:
    done = run(error)
    assert done.exit_code == (130 if isinstance(error, KeyboardInterrupt) else 12)
    assert "error" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said", "path"),
    [
        (["--no-such-flag", "go"], "No such option: --no-such-flag.", "root"),
        (["go", "--no-such-flag"], "No such option: --no-such-flag.", "root go"),
        (["gone"], "No such command 'gone'. Did you mean 'go'?", "root"),
    ],
)
def test_wrong_usage_is_two_lines_that_name_the_help(words: list[str], said: str, path: str) -> None:
    done = CliRunner().invoke(app_that_raises(RuntimeError("never reached")), words, prog_name="root")
    assert done.exit_code == 2
    assert done.stderr == f"error: {said}\nhint: See how it is used with: {path} --help.\n"
    assert done.stdout == ""


def test_every_class_of_error_has_a_documented_exit_code() -> None:
    codes: set[Any] = {cls.exit_code for cls in every_error()}
    assert codes <= set(EXIT_CODES)
