"""How the verdict of `postq verify` looks in a terminal."""

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from postq.cli.printing.tables import facts, grid
from postq.cli.printing.terminal import clean
from postq.counted import counted

if TYPE_CHECKING:
    from postq.cli.jobs.verdict import Verdict


def verify_page(verdict: "Verdict") -> RenderableType:
    """Heading, what was counted and hashed, then what is wrong, or that nothing is."""
    rows = verdict.rows
    heading = Text.assemble((f"Job {rows.job_id}", "bold"), f" · {rows.kind.value} · {rows.state.value}")
    found = facts(
        [
            ("documents", _documents(verdict)),
            ("history", "every change of state is legal" if not verdict.problems else None),
            ("fences", "no row was written without its lease" if not verdict.problems else None),
            ("bundle", _bundle(verdict)),
            ("digest", rows.digest),
        ]
    )
    return Group(heading, found, Text(""), *_ending(verdict))


def _documents(verdict: "Verdict") -> str | None:
    rows = verdict.rows
    if rows.digest is None:
        return None
    parts = f"{rows.predicted:,} predicted + {rows.quarantined:,} quarantined + {rows.skipped:,} skipped"
    if not rows.coverage_checked:
        return f"{parts}, of {rows.documents:,}; complete only once the job has succeeded"
    return f"{parts} = {rows.predicted + rows.quarantined + rows.skipped:,} of {rows.documents:,}"


def _bundle(verdict: "Verdict") -> str | None:
    if verdict.bundle_digest is None:
        return None
    state = "its files do not match" if verdict.folder_problems else "every file matches its manifest"
    return f"{verdict.bundle}, {verdict.bundle_digest[:12]}: {state}"


def _ending(verdict: "Verdict") -> tuple[RenderableType, ...]:
    if not verdict.problems:
        return (Text("Verified.", style="green"),)
    title = Text(f"{counted(len(verdict.problems), 'problem')}", style="bold red")
    return title, grid((Text("✗", style="red"), Text(clean(problem))) for problem in verdict.problems)
