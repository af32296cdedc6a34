"""Writes docs/measurements.md from benchmarks/results: every recorded table, and what it was taken on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_suffix(".md")
RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results"
BUSY = 0.5
"""Load per core beyond the one that a measured program may cause itself, from which readers are told."""
INTRODUCTION = """# Measurements

Written by `make docs` from `benchmarks/results`; a test compares the two. `make bench` takes all of them
anew, `make bench ARGS="NAME"` one. How they are taken is in [benchmarks/README.md](../benchmarks/README.md);
what they mean is in [performance.md](performance.md), [performance_engine.md](performance_engine.md),
[load.md](load.md) and [results.md](results.md).

A ratio survives a busy machine, an absolute figure does not: each table says the load at its end."""


def page() -> str:
    """The whole document."""
    records = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(RESULTS.glob("*.json"))]
    return "\n\n".join([INTRODUCTION, *map(section, records)]) + "\n"


def section(record: Mapping[str, Any]) -> str:
    """One record: its method, its table, and what its figures depend on."""
    return "\n\n".join([f"## {record['name']}", record["method"], table(record["rows"]), provenance(record)])


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a table, numbers to the right; a column that is empty in all rows is left out."""
    columns = [name for name in dict.fromkeys(key for row in rows for key in row) if _is_filled(rows, name)]
    numeric = {name for name in columns if all(_is_number(row.get(name)) for row in rows)}
    lines = [
        " | ".join(map(_heading, columns)),
        "|".join("---:" if name in numeric else "---" for name in columns),
        *(" | ".join(_cell(row.get(name)) for name in columns) for row in rows),
    ]
    return "\n".join(f"| {line} |" if "---" not in line else f"|{line}|" for line in lines)


def provenance(record: Mapping[str, Any]) -> str:
    """Date, commit, machine, load, versions and parameters, in one paragraph."""
    taken = record["measured"]
    load = taken["load_at_end"]
    busy = ", so the machine was busy with other work too" if load / taken["cores"] > 1 + BUSY else ""
    facts = [
        f"{taken['date'][:10]}, commit {taken['commit']}",
        f"{taken['processor']}, {taken['cores']} cores, {taken['memory_gb']} GB, {taken['system']}"
        + (f", {taken['device']}" if taken["device"] != "cpu" else ""),
        f"load {load} at the end{busy}",
        ", ".join([f"Python {taken['python']}", *(f"{k} {v}" for k, v in taken["versions"].items())]),
    ]
    if record["parameters"]:
        facts.append(f"parameters `{json.dumps(record['parameters'], ensure_ascii=False)}`")
    return "*" + ". ".join(facts) + ".*"


def _heading(name: str) -> str:
    return name.replace("docs_s", "docs/s").replace("_mb", " MB").replace("_", " ")


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _is_filled(rows: Sequence[Mapping[str, Any]], name: str) -> bool:
    return any(row.get(name) not in (None, "") for row in rows)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
