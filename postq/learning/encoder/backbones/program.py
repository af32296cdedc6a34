"""Running a part of this room as a process: an error is one sentence, a hint and an exit code."""

import sys
from collections.abc import Callable

from postq.errors import PostqError


def run_program(main: Callable[[], None]) -> None:
    """Call `main`; a PostqError goes to stderr and becomes the exit code."""
    try:
        main()
    except PostqError as exc:
        sys.stderr.write(f"{exc.message}\n{exc.hint}\n")
        raise SystemExit(exc.exit_code) from exc
