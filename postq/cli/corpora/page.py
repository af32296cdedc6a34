"""How one corpus looks in a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.text import Text

from postq.cli.printing.tables import facts, grid
from postq.cli.printing.terminal import clean
from postq.cli.printing.wording import clock, share
from postq.counted import counted
from postq.models import Corpus

SHOWN_LABELS = 15
BAR_COLUMNS = 24


def corpus_page(row: Corpus) -> RenderableType:
    """Heading, where it came from, then the facts."""
    heading = Text.assemble((f"{clean(row.name)}@{row.version}", "bold"), f" · corpus {row.id}")
    origin = facts([("read from", row.source), ("added", clock(row.created_at)), ("digest", row.digest)])
    return Group(heading, origin, facts_page(row.facts))


def facts_page(found: Mapping[str, Any]) -> RenderableType:
    """Counts, lengths, splits, reasons of what was set aside, and the commonest labels."""
    return Group(facts(_counts(found)), *_labels(found))


def _counts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    documents, words = found["documents"], found["words"]
    return [
        ("documents", f"{documents:,}, {found['labelled_documents']:,} with labels"),
        (
            "duplicates",
            f"{found['exact_duplicates']:,} repeat an earlier document" * bool(found["exact_duplicates"]),
        ),
        ("set aside", _reasons(found)),
        ("splits", ", ".join(f"{name} {number:,}" for name, number in found["splits"].items())),
        (
            "words",
            f"{words['total']:,}; median {words['median']:,.0f}, "
            f"95th percentile {words['p95']:,.0f}, longest {words['longest']:,}",
        ),
        ("form", ", ".join(found["forms"])),
    ]


def _reasons(found: Mapping[str, Any]) -> str:
    if not found["set_aside"]:
        return "none"
    reasons = ", ".join(f"{number} {reason.replace('_', ' ')}" for reason, number in found["reasons"].items())
    return f"{counted(found['set_aside'], 'record')} of {found['records_read']:,}: {reasons}"


def _labels(found: Mapping[str, Any]) -> list[RenderableType]:
    counts: Mapping[str, int] = found["label_counts"]
    if not counts:
        return []
    largest = max(counts.values())
    shown = list(counts.items())[:SHOWN_LABELS]
    rows = [
        (
            Text(clean(label), no_wrap=True, overflow="ellipsis"),
            Text(f"{number:,}", justify="right"),
            Text(share(number, found["documents"]), justify="right", style="dim"),
            Bar(largest, 0, number, width=BAR_COLUMNS, color="cyan"),
        )
        for label, number in shown
    ]
    more = f"  and {counted(len(counts) - len(shown), 'more label')}" if len(counts) > len(shown) else ""
    return [
        Text(""),
        Text(counted(len(counts), "label"), style="bold"),
        grid(rows),
        *([Text(more, style="dim")] * bool(more)),
    ]
