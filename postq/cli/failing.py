"""The one way every command fails: two lines on the error stream and an exit code, never a traceback."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import typer

from postq.cli.invocation import Invocation
from postq.cli.printing.help import HelpfulGroup
from postq.errors import PostqError
from postq.unfit import in_few_words

BUG_EXIT_CODE = 70
"""EX_SOFTWARE of sysexits.h: an error postq did not foresee."""


class FailingClearly(HelpfulGroup):
    """The root command: whatever a command raises ends here."""

    def main(self, *args: Any, **given: Any) -> NoReturn:
        """Run the command line and exit, with errors in reading the root's own flags told like all others."""
        try:
            with told_clearly(None):
                sys.exit(super().main(*args, **{**given, "standalone_mode": False}))
        except typer.Exit as exc:
            sys.exit(exc.exit_code)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; turn its errors into messages and exit codes."""
        with told_clearly(ctx):
            try:
                return super().invoke(ctx)
            finally:
                _close(ctx.obj)


@contextmanager
def told_clearly(ctx: Any) -> Iterator[None]:
    """Let exits pass, tell postq's errors and wrong usage in two lines, and own up to all others."""
    try:
        yield
    except typer.TyperException as exc:
        if type(exc).__name__ != "NoArgsIsHelpError":  # the help is the answer, and stands there already
            _tell_wrong_usage(exc)
        raise typer.Exit(exc.exit_code) from None
    except (typer.Exit, typer.Abort, KeyboardInterrupt, BrokenPipeError):
        raise
    except PostqError as exc:
        _tell(exc.message, exc.hint)
        if _verbose(ctx):
            traceback.print_exc()
        raise typer.Exit(exc.exit_code) from None
    except Exception as exc:
        _own_up(exc, ctx)
        raise typer.Exit(BUG_EXIT_CODE) from None


def _close(invocation: Any) -> None:
    if isinstance(invocation, Invocation):
        invocation.close()


def _tell(message: str, hint: str) -> None:
    from postq.cli.printing.terminal import complain

    complain("error", message)
    complain("hint", hint)


def _tell_wrong_usage(exc: typer.TyperException) -> None:
    exc.message = in_few_words(exc.message)
    path = exc.ctx.command_path if getattr(exc, "ctx", None) else "postq"  # type: ignore[attr-defined]
    message = exc.format_message().strip()
    _tell(message if message[-1:] in ".?!" else f"{message}.", f"See how it is used with: {path} --help.")


def _verbose(ctx: Any) -> bool:
    return ctx is not None and bool(getattr(ctx.obj, "verbose", False) or ctx.params.get("verbose", False))


def _own_up(exc: Exception, ctx: Any) -> None:
    """Say that this is a bug, keep the traceback in a file, show it only when asked to."""
    from postq.logs import mask_secrets

    text = mask_secrets("".join(traceback.format_exception(exc)), secrets=_secrets(ctx))
    summary = mask_secrets(f"{type(exc).__name__}: {exc}".splitlines()[0], secrets=_secrets(ctx))
    kept = _keep(text, ctx)
    where = f"The traceback is in {kept}" if kept else "`postq --verbose …` shows the traceback"
    _tell(f"This is a bug in postq: {summary}", f"{where}; please report it with the command you ran.")
    if _verbose(ctx):
        sys.stderr.write(text)


def _secrets(ctx: Any) -> tuple[str, ...]:
    return getattr(getattr(ctx, "obj", None), "secrets", ())


def _keep(text: str, ctx: Any) -> Path | None:
    """Append the traceback to `<home>/logs/cli.log`; None when that cannot be written."""
    try:
        logs: Path = ctx.obj.settings.home / "logs"
        logs.mkdir(parents=True, exist_ok=True, mode=0o750)
        with (logs / "cli.log").open("a", encoding="utf-8") as file:
            file.write(text + "\n")
    except Exception:  # the bug may be in the settings themselves; the report must still come out
        return None
    return logs / "cli.log"
