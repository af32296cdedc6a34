"""Runs the benchmarks named on the command line, or all of them, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
NOT_BENCHMARKS = {"__init__", "cuda", "recording", "run"}
"""`cuda` calls some of the others. Files besides these that cannot be run by themselves begin with `_`."""


def benchmarks() -> list[str]:
    """Names of all benchmarks: the Python files beside this one that can be run by themselves."""
    names = sorted(path.stem for path in FOLDER.glob("*.py"))
    return [name for name in names if name not in NOT_BENCHMARKS and not name.startswith("_")]


def main(names: list[str]) -> int:
    """Run them one after the other; the exit status tells whether all of them succeeded."""
    known = benchmarks()
    if unknown := sorted(set(names) - set(known)):
        print(f"No benchmark named {', '.join(unknown)}. There are: {', '.join(known)}.", file=sys.stderr)
        return 2
    failed = [name for name in names or known if _run(name) != 0]
    if failed:
        print(f"Failed: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


def _run(name: str) -> int:
    print(f"\n== {name}", flush=True)
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}"], cwd=FOLDER.parent, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
