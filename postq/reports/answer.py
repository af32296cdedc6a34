"""A report as plain JSON values: what `postq report --json` prints, with keys that stay."""

import math
from dataclasses import asdict
from typing import Any

from postq.reports.comparing import Comparison
from postq.reports.content import Report

DRAWN_ONLY = ("precision_recall", "sweep", "raw")


def report_facts(report: Report) -> dict[str, Any]:
    """Everything but the points of the curves; `stored` is the judged report as it was kept."""
    facts = {name: value for name, value in asdict(report).items() if name not in DRAWN_ONLY}
    pairs = ("data_facts", "configuration", "versions", "digests", "training_facts", "metrics")
    facts |= {name: dict(facts[name]) for name in pairs}
    finite = _finite({**facts, "stored": report.raw})
    assert isinstance(finite, dict)
    return finite


def comparison_facts(comparison: Comparison) -> dict[str, Any]:
    """Standings, label differences and warnings; each bundle's own facts are `postq report BUNDLE --json`."""
    facts = {name: value for name, value in asdict(comparison).items() if name != "reports"}
    finite = _finite(facts)
    assert isinstance(finite, dict)
    return finite


def _finite(value: Any) -> Any:
    """JSON has no NaN: a figure that is none is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
