"""Where the demo plays: a home of its own, commands shown as they run, and workers that always end."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from rich.console import Console
from rich.text import Text

WORKER_GRACE_SECONDS = 60


class StepFailed(Exception):
    """A command of the demo did not end as it should."""


class Stage:
    """Runs `postq` as a user would; leaving the stage drains the workers, whatever happened."""

    MARK: ClassVar[str] = ".postq-demo"

    def __init__(self, home: Path) -> None:
        self.home = home
        self.console = Console(highlight=False)
        self._workers: subprocess.Popen[bytes] | None = None
        self._environment = _environment(home)

    def __enter__(self) -> Self:
        (self.home / self.MARK).touch()
        signal.signal(signal.SIGTERM, _interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_workers()

    def path(self, name: str) -> str:
        """A file of the demo's home, as short as it can be written."""
        return _short(self.home / name)

    def invitation(self) -> str:
        """A command line for looking around in the demo's home afterwards."""
        return f"POSTQ_HOME={_short(self.home)} {_short(Path(sys.executable).with_name('postq'))} status"

    def heading(self, text: str) -> None:
        """Announce the next act."""
        self.console.print()
        self.console.rule(Text(text, style="bold"), align="left", style="dim")

    def remark(self, text: str) -> None:
        """Say something that is not a command's output."""
        self.console.print(Text(text, style="dim"))

    def postq(self, *arguments: object, codes: tuple[int, ...] = (0,)) -> None:
        """Run one command in full view. Raises StepFailed for an exit code that is not among `codes`."""
        words = self._shown(arguments)
        done = subprocess.run(words, env=self._environment, check=False)
        self._check(words, done.returncode, codes)

    def submit(self, *arguments: object) -> int:
        """Run a submit in full view and return the job's number."""
        words = self._shown(arguments)
        done = subprocess.run(
            [*words, "--quiet"], env=self._environment, check=False, stdout=subprocess.PIPE, text=True
        )
        self._check(words, done.returncode, (0,))
        job = int(done.stdout)
        self.console.print(f"Job {job}")
        return job

    def ask(self, *arguments: object) -> Any:
        """The JSON answer of a command, asked behind the scenes."""
        words = [*_program(), *map(str, arguments), "--json"]
        done = subprocess.run(words, env=self._environment, check=False, stdout=subprocess.PIPE, text=True)
        self._check(words, done.returncode, (0,))
        return json.loads(done.stdout)

    def start_workers(self, count: int) -> None:
        """Start `postq up` in the background, as an operator would in another terminal."""
        words = self._shown(("up", "--cpu-workers", count), background=True)
        log = (self.home / "up.log").open("wb")
        self._workers = subprocess.Popen(
            words, env=self._environment, stdout=log, stderr=log, process_group=0
        )
        log.close()

    def check_workers(self) -> None:
        """Raise StepFailed when `postq up` has ended."""
        if self._workers is not None and self._workers.poll() is not None:
            raise StepFailed(f"`postq up` ended with {self._workers.returncode}; see {self.home / 'up.log'}")

    def stop_workers(self) -> None:
        """Drain the workers and wait for them; a second call does nothing."""
        workers, self._workers = self._workers, None
        if workers is None:
            return
        workers.terminate()
        try:
            workers.wait(timeout=WORKER_GRACE_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            workers.send_signal(signal.SIGINT)  # the second signal kills instead of draining
            workers.wait()

    def _shown(self, arguments: tuple[object, ...], *, background: bool = False) -> list[str]:
        words = [str(argument) for argument in arguments]
        shown = shlex.join(words) + (" &" if background else "")
        self.console.print()
        self.console.print(Text.assemble(("$ ", "dim"), (f"postq {shown}", "bold cyan")), soft_wrap=True)
        return [*_program(), *words]

    def _check(self, words: list[str], code: int, codes: tuple[int, ...]) -> None:
        self.check_workers()
        if code not in codes:
            shown = shlex.join(words[len(_program()) :])
            raise StepFailed(f"`postq {shown}` ended with {code} instead of {' or '.join(map(str, codes))}")


def _short(place: Path) -> str:
    return str(place.relative_to(Path.cwd())) if place.is_relative_to(Path.cwd()) else str(place)


def _program() -> list[str]:
    return [sys.executable, "-m", "postq"]


def _environment(home: Path) -> dict[str, str]:
    """The demo's own settings only: nothing of the user's reaches it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POSTQ_")}
    return {**kept, "POSTQ_HOME": str(home), "POSTQ_CONFIG": os.devnull}


def _interrupt(signum: int, frame: object) -> None:
    raise KeyboardInterrupt
