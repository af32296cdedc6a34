"""How a comparison by `postq drift` looks in a terminal: alarms first, then the labels that moved most."""

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from postq.cli.printing.tables import facts, grid
from postq.cli.printing.terminal import clean
from postq.counted import counted
from postq.learning.drift import FEWEST_FOR_PSI, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postq.jobs.drift import Measured
    from postq.learning.drift import Drift, LabelDrift, ShareChange


def drift_page(measured: "Measured", *, limit: int) -> RenderableType:
    """Heading, facts, alarms, and a table of the `limit` labels that alarm or moved most."""
    found = measured.drift
    heading = Text.assemble((f"Job {measured.job_id}", "bold"), f" · drift against {measured.reference.name}")
    ranked = sorted(found.labels, key=_rank)
    parts = [heading, facts(_facts(measured)), Text(""), *_alarms(found), Text(""), _table(ranked[:limit])]
    if len(ranked) > limit:
        parts.append(Text(f"  and {counted(len(ranked) - limit, 'more label')} (--limit)", style="dim"))
    if any(each.psi is None for each in found.labels):
        parts.append(Text(f"  PSI –: {_why_without_psi(measured)}", style="dim"))
    return Group(*parts)


def _facts(measured: "Measured") -> list[tuple[str, RenderableType | None]]:
    found = measured.drift
    left_out = f" · {measured.left_out:,} that the bundle learned from left out" if measured.left_out else ""
    flips = f"{found.flips.flipped:,} of {found.flips.compared:,} scored before with equal content"
    return [
        ("documents", Text(f"{found.documents:,} against {found.reference_documents:,}{left_out}")),
        (
            "no label",
            Text(f"{_share(found.empty)}, before {_before(found.empty)}", style=_style(found.empty)),
        ),
        ("flipped", Text(flips, style="bold red" if found.flips.flipped else "")),
    ]


def _why_without_psi(measured: "Measured") -> str:
    if not measured.reference.same_scores:
        return "these scores are of another fingerprint, so only labels are compared."
    return f"scores are compared from {FEWEST_FOR_PSI} documents on either side."


def _alarms(found: "Drift") -> "Sequence[RenderableType]":
    if not found.alarms:
        return (Text("No alarm.", style="green"),)
    title = Text(counted(len(found.alarms), "alarm"), style="bold yellow")
    return title, grid((Text("!", style="yellow"), Text(clean(each.sentence))) for each in found.alarms)


def _table(labels: "Sequence[LabelDrift]") -> RenderableType:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("Label", overflow="fold")
    for heading in ("Now", "95 %", "Before", "95 %", "PSI"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in labels:
        shares = each.predicted
        psi = "–" if each.psi is None else f"{each.psi:.2f}"
        table.add_row(
            Text(clean(each.label), style="yellow" if each.alarm else ""),
            Text(percent(shares.share), style=_style(shares)),
            Text(_interval(shares.interval), style="dim"),
            Text(percent(shares.before)),
            Text(_interval(shares.before_interval), style="dim"),
            Text(psi, style="yellow" if each.scores_alarm else ""),
        )
    return Padding(table, (0, 0, 0, 2))


def _rank(each: "LabelDrift") -> tuple[bool, float, str]:
    moved = max(abs(each.predicted.share - each.predicted.before), (each.psi or 0.0) / 10)
    return not each.alarm, -moved, each.label


def _share(change: "ShareChange") -> str:
    return f"{percent(change.share)} ({_interval(change.interval)})"


def _before(change: "ShareChange") -> str:
    return f"{percent(change.before)} ({_interval(change.before_interval)})"


def _interval(bounds: tuple[float, float]) -> str:
    return f"{100 * bounds[0]:.1f} to {percent(bounds[1])}"


def _style(change: "ShareChange") -> str:
    return "yellow" if change.alarm else ""
