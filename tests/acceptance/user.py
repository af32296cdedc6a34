"""A user at a terminal: runs `postq` as a process and reads what it prints."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from postq.cli.app import app

COMMAND_SECONDS = 170
QUICK = {"POSTQ_POLL_SECONDS": "0.2", "POSTQ_RECONCILE_SECONDS": "1", "POSTQ_BACKOFF_SECONDS": "0.2"}
"""So that tests wait little; nothing they check hangs on these."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def messages(self) -> list[str]:
        """Lines of the error stream."""
        return self.err.splitlines()


@dataclass(frozen=True, kw_only=True)
class User:
    """Somebody with a home folder and, where given, other settings in the environment."""

    home: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    def with_settings(self, **settings: str) -> "User":
        """The same user with more settings, by their names in lower case."""
        named = {f"POSTQ_{name.upper()}": value for name, value in settings.items()}
        return User(home=self.home, settings={**self.settings, **named})

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of the outer user's settings leaks in."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("POSTQ_")}
        return {**kept, **QUICK, "POSTQ_HOME": str(self.home), "POSTQ_CONFIG": os.devnull, **self.settings}

    def runs(self, *words: object, code: int | None = 0) -> Answer:
        """Run a command to its end; it must end with `code` (None: however it likes)."""
        done = subprocess.run(
            [sys.executable, "-m", "postq", *map(str, words)],
            env=self.environment,
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert code is None or done.returncode == code, (
            f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return Answer(code=done.returncode, out=done.stdout, err=done.stderr)

    def tries(self, *words: object) -> Answer:
        """Run a command inside this process: the same application without a second of imports.

        For the many cases that differ in one word only, and to look at what other commands did; each kind
        of them also runs as a process.
        """
        others = {name: None for name in os.environ if name.startswith("POSTQ_")}
        with chdir(self.home.parent):
            done = CliRunner().invoke(
                app, list(map(str, words)), prog_name="postq", env={**others, **self.environment}
            )
        return Answer(code=done.exit_code, out=done.stdout, err=done.stderr)

    def asks(self, *words: object) -> Any:
        """The JSON a command answers, asked inside this process."""
        answer = self.tries(*words, "--json")
        assert answer.code == 0, f"{words}: {answer.code}\n{answer.out}\n{answer.err}"
        return json.loads(answer.out)

    def submits(self, *words: object) -> int:
        """Submit and return the job's number."""
        return int(self.runs(*words, "--quiet").out)

    @contextmanager
    def working(self, *, cpu_workers: int = 1) -> Iterator["subprocess.Popen[str]"]:
        """`postq up` in another terminal; drained at the end, and its exit code checked."""
        with self.leaves("up", "--cpu-workers", cpu_workers, log="up.log") as process:
            yield process
            process.terminate()
            assert process.wait(timeout=90) == 0, (self.home / "up.log").read_text()

    @contextmanager
    def leaves(self, *words: object, log: str) -> Iterator["subprocess.Popen[str]"]:
        """A command in another terminal, its lines in `log` below home; killed at the end, if it runs."""
        self.home.mkdir(parents=True, exist_ok=True)
        with (self.home / log).open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "postq", *map(str, words)],
                env=self.environment,
                cwd=self.home.parent,
                stdout=stream,
                stderr=stream,
                text=True,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
