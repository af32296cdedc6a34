"""How one bundle looks in a terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from postq.cli.bundles.listing import ListedBundle
from postq.cli.printing.figures import FiguresTable, figures_of
from postq.cli.printing.tables import facts
from postq.cli.printing.terminal import clean
from postq.cli.printing.wording import clock, short_path, size
from postq.counted import counted
from postq.learning.rules.telling import rule_sentence
from postq.models.bundle import BundleRow
from postq.reports.looks import looks_at_test


def bundle_page(bundle: ListedBundle, *, home: Path) -> RenderableType:
    """Heading, facts, figures, rules, labels."""
    row = bundle.row
    heading = Text.assemble((f"Bundle {row.id}", "bold"), " · ", clean(row.name), " · ", row.kind)
    return Group(
        heading,
        facts(_facts(bundle, home)),
        *_figures(row.metrics),
        *_rules(row.metrics),
        *_labels(row.labels),
    )


def _facts(bundle: ListedBundle, home: Path) -> list[tuple[str, str]]:
    row = bundle.row
    return [
        ("aliases", " ".join(f"@{name}" for name in bundle.aliases)),
        ("trained by", f"job {row.job_id}" if row.job_id else ""),
        ("made from", _parent(row.metrics)),
        ("registered", clock(row.created_at)),
        ("folder", f"{short_path(home / row.path)} ({size(row.size_bytes)})"),
        ("digest", row.digest),
        ("fingerprint", row.fingerprint.hex()),
        ("rules", row.metrics.get("rules", {}).get("sentence", "")),
        ("test split", _looks(row)),
    ]


def _looks(row: BundleRow) -> str:
    """Nothing for a bundle that was trained without a test split."""
    documents = row.metrics.get("documents") or {}
    elsewhere = "; elsewhere not known" if row.metrics.get("brought_in") else ""
    return f"evaluated {looks_at_test(row.test_touches)}{elsewhere}" if documents.get("test") else ""


def _parent(metrics: Mapping[str, Any]) -> str:
    """The bundle whose thresholds were tuned anew, or the members of an ensemble."""
    if "members" in metrics:
        return " and ".join(map(_origin, metrics["members"]))
    parent = metrics.get("parent")
    return f"{_origin(parent)}: thresholds tuned anew" if parent else ""


def _origin(made_from: Mapping[str, Any]) -> str:
    """A bundle that another was made from; it has no number where it was made in another home."""
    name = str(made_from["name"])
    return f"bundle {made_from['bundle']}, {name}" if made_from["bundle"] else name


def _figures(metrics: Mapping[str, Any]) -> list[RenderableType]:
    found = figures_of(metrics)
    return [Text(""), FiguresTable(found)] if found else []


def _rules(metrics: Mapping[str, Any]) -> list[RenderableType]:
    """The rules in force that the row keeps, each with its evidence."""
    found = metrics.get("rules", {})
    if not found.get("first"):
        return []
    lines = [clean(rule_sentence(each)) for each in found["first"]]
    more = found["count"] - len(lines)
    if more:
        lines.append(f"and {counted(more, 'more rule')}: see `postq report`")
    return [Text(""), *map(Text, lines)]


def _labels(labels: list[str]) -> list[RenderableType]:
    heading = Text(f"{counted(len(labels), 'label')}: ", style="dim")
    return [Text(""), Text.assemble(heading, clean(" · ".join(labels)))]
