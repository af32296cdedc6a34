"""How long `postq` takes to start, beside a bare interpreter and its two main libraries imported bare."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from benchmarks.recording import record

RUNS = 9
PROGRAMS: dict[str, Sequence[str]] = {
    "python -c pass": ("-c", "pass"),
    "import typer": ("-c", "import typer"),
    "import typer, sqlmodel": ("-c", "import typer, sqlmodel"),
    "postq --version": ("-m", "postq", "--version"),
    "postq --help": ("-m", "postq", "--help"),
    "postq corpus --help": ("-m", "postq", "corpus", "--help"),
    "postq status (no jobs)": ("-m", "postq", "status"),
    "postq status --json (no jobs)": ("-m", "postq", "status", "--json"),
    "postq corpus list": ("-m", "postq", "corpus", "list"),
}
BASELINE = "import typer, sqlmodel"


def measure(runs: int = RUNS) -> list[dict[str, object]]:
    """Wall time of whole processes in milliseconds: all programs in turn, `runs` rounds after one warm-up.

    The rounds are interleaved, so that a busy moment of the machine falls on all programs alike.
    """
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "POSTQ_HOME": home, "POSTQ_CONFIG": os.devnull}
        times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
        for number in range(runs + 1):
            for name, arguments in PROGRAMS.items():
                spent = _run(arguments, environment)
                if number:
                    times[name].append(spent)
    base = statistics.median(times[BASELINE])
    return [_row(name, spent, base) for name, spent in times.items()]


def _run(arguments: Sequence[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=True)
    return 1000 * (time.perf_counter() - started)


def _row(name: str, spent: list[float], base: float) -> dict[str, object]:
    median = statistics.median(spent)
    return {
        "program": name,
        "median_ms": round(median, 1),
        "fastest_ms": round(min(spent), 1),
        "slowest_ms": round(max(spent), 1),
        "ratio": round(median / base, 2),
    }


def main() -> None:
    """Measure and record."""
    record(
        "cli_startup",
        measure(),
        method=(
            f"Wall time of whole processes, from spawn to exit, median of {RUNS} interleaved rounds after "
            "one warm-up (files cached, bytecode compiled); the database is an empty SQLite file. "
            f"The ratio is to `{BASELINE}`."
        ),
        parameters={"runs": RUNS},
    )


if __name__ == "__main__":
    main()
