"""Prints a benchmark's table and records it with the machine, versions and commit it was measured on."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("celery", "numpy", "pyarrow", "scikit-learn", "sqlalchemy", "torch", "transformers")
_GB = 2**30


def record(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    method: str,
    parameters: Mapping[str, Any] | None = None,
    device: str = "cpu",
) -> Path:
    """Print `rows` as a table and write `results/<name>.json`; returns the file.

    `method` says in a sentence or two what was timed against what; `device` names the accelerator, if any.
    """
    console = Console()
    console.print(_fitting(name, rows, width=console.width))
    console.print(method, style="dim", highlight=False)
    document = {
        "name": name,
        "method": method,
        "parameters": dict(parameters or {}),
        "rows": [dict(row) for row in rows],
        "measured": {**machine(), "device": device},
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    file.write_text(json.dumps(document, indent=2, default=str) + "\n", encoding="utf-8")
    return file


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, memory, load, versions, commit and date."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / _GB, 1),
        "load_at_end": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    """Those of the packages that are there: a kernel is measured where there may be no Celery."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _processor() -> str:
    """The processor's name; Linux alone hides it from `platform`."""
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _fitting(name: str, rows: Sequence[Mapping[str, Any]], *, width: int) -> Table:
    """A table, or where its columns are not wide enough to be read, a block of lines for each row."""
    table = _table(name, rows)
    narrowest = sum(max(map(len, words)) + 3 for words in _longest_words(rows)) + 1
    return table if narrowest <= width else _blocks(name, rows)


def _longest_words(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The words of each column, heading included: a column can be no narrower and still be read."""
    return [
        [
            word
            for text in (column, *(_cell(row.get(column)) for row in rows))
            for word in text.split() or [""]
        ]
        for column in _columns(rows)
    ]


def _blocks(name: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    blocks = Table(title=name, show_header=False)
    for row in rows:
        for column, value in row.items():
            blocks.add_row(column, _cell(value))
        blocks.add_section()
    return blocks


def _table(name: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title=name)
    columns = _columns(rows)
    for column in columns:
        numeric = all(isinstance(row.get(column), int | float | None) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    return table


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every column of any row, in the order they first come up."""
    return list(dict.fromkeys(column for row in rows for column in row))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
