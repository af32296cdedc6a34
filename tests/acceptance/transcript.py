"""Runs the commands of a page's `console` blocks and puts what they print below them.

python -m tests.acceptance.transcript docs/quickstart.md     writes the page's outputs anew
"""

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import environ
from pathlib import Path

from tests.waiting import wait_until

BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```)", re.MULTILINE | re.DOTALL)
PROGRESS = re.compile(r"^job \d+: |^Submitted job \d+\.$")
"""Lines of `--wait` that depend on how fast the machine is."""
COMMAND_SECONDS = 240


def commands(block: str) -> list[str]:
    """The command lines of a block."""
    return [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]


def rendered(block: str, *, printed: Callable[[str], str]) -> str:
    """The block with each command followed by what `printed` says it prints."""
    parts = [f"$ {command}\n{printed(command)}" for command in commands(block)]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def output_of(command: str, *, environment: Mapping[str, str], folder: Path) -> str:
    """What one command prints on both streams, without progress; RuntimeError unless it ends with 0."""
    done = subprocess.run(
        shlex.split(command),
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stdout}")
    lines = [line.rstrip() for line in done.stdout.splitlines() if not PROGRESS.match(line)]
    return "".join(f"{line}\n" for line in lines)


@contextmanager
def stage(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a reader in an empty folder, with `postq up` in another terminal."""
    programs = str(Path(sys.executable).parent)
    environment = {
        **{name: value for name, value in environ.items() if not name.startswith(("POSTQ_", "PYTHONUNBUF"))},
        "PATH": f"{programs}:{environ['PATH']}",
        "POSTQ_HOME": str(folder / "home"),
        "COLUMNS": "110",
        "TZ": "UTC",
        "OMP_NUM_THREADS": "1",
    }
    command = ["postq", "up"]
    with (folder / "up.log").open("wb") as log:
        workers = subprocess.Popen(
            [f"{programs}/postq", *command[1:]], env=environment, cwd=folder, stdout=log, stderr=log
        )
        try:
            wait_until(lambda: _a_worker_lives(environment), 90, every=0.2, saying="a worker of postq up")
            yield environment
        finally:
            workers.terminate()
            workers.wait(90)


def _a_worker_lives(environment: Mapping[str, str]) -> bool:
    ping = [f"{Path(sys.executable).parent}/postq", "worker", "--ping"]
    return subprocess.run(ping, env=environment, capture_output=True, check=False).returncode == 0


def played(page: str, *, folder: Path) -> str:
    """The page with the output of every command as it is now."""
    with stage(folder) as environment:
        return BLOCK.sub(
            lambda found: rendered(
                found[0], printed=lambda command: output_of(command, environment=environment, folder=folder)
            ),
            page,
        )


def shape(page: str) -> str:
    """The page without what differs from run to run: figures, times, and the width they take."""
    without_times = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)? \w+", "TIME", page)
    without_spans = re.sub(r"\b[\d.]+ (ms|s|min|h)\b( \d+ (s|min)\b)?", "SPAN", without_times)
    return re.sub(r"[ \t]+", " ", re.sub(r"\d[\d.,]*", "N", without_spans))


def main() -> None:
    """Write the outputs of a page anew."""
    page = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="postq-transcript-") as folder:
        page.write_text(played(page.read_text(encoding="utf-8"), folder=Path(folder)), encoding="utf-8")


if __name__ == "__main__":
    main()
