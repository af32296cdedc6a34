"""The listing of jobs: its columns and documented JSON keys."""

from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from postq.cli.printing.column import Column
from postq.cli.printing.listing import Listing
from postq.cli.printing.terminal import clean
from postq.cli.printing.wording import duration, iso, share

if TYPE_CHECKING:
    from postq.jobs.views import AttemptView, JobView

BAR_CELLS = 8
MOST_FIGURES = 4
"""Of the running shard; JSON has them all."""
PLAIN_ENDING = "all work done"
"""The reason of a job that simply succeeded; it is not worth a line."""
STATE_STYLES = {
    "blocked": "dim",
    "ready": "yellow",
    "running": "cyan",
    "succeeded": "green",
    "succeeded_with_quarantine": "yellow",
    "failed": "bold red",
    "cancelled": "magenta",
}


def state_word(view: "JobView") -> str:
    """The state in one word; a running job that no worker is on waits; quarantine is told by the reason."""
    if view.waiting:
        return "waiting"
    return "succeeded" if view.state.value == "succeeded_with_quarantine" else view.state.value


def state_style(view: "JobView") -> str:
    """The colour of the state."""
    return STATE_STYLES["ready" if view.waiting else view.state.value]


def at_work(view: "JobView") -> bool:
    """True while a worker is on the job and has told how far it is."""
    return view.state.value == "running" and not view.waiting and view.progress.total > 0


def has_ended(view: "JobView") -> bool:
    """True when only a person's retry can move the job again."""
    from postq.jobs.states import JOB_TERMINAL

    return view.state in JOB_TERMINAL


def bar(done: int, total: int, *, cells: int = BAR_CELLS) -> str:
    """`████░░░░`; empty when nothing is known."""
    if total <= 0:
        return ""
    full = cells * min(done, total) // total
    return "█" * full + "░" * (cells - full)


def progress_words(view: "JobView") -> str:
    """The cell of the listing: a bar while it runs, the outcome in a few words when it has ended."""
    counts, progress = view.documents, view.progress
    if view.state.value == "running":
        return f"{bar(progress.done, progress.total)} {share(progress.done, progress.total)}".strip()
    if view.kind.value == "classify" and has_ended(view):
        return f"{counts.predicted:,} scored" if counts.predicted or not counts.skipped else "nothing new"
    return ""


def took(view: "JobView", *, now: datetime | None = None) -> float | None:
    """Seconds since the first claim, until the end or now; None before it started."""
    if view.started_at is None:
        return None
    return ((view.finished_at or now or datetime.now(UTC)) - view.started_at).total_seconds()


def figures_words(view: "JobView") -> list[str]:
    """Rate, time left and the newest figures of the running shard, each in a few words."""
    progress = view.progress
    words = []
    if progress.per_second:
        rate = f"{progress.per_second:,.0f}" if progress.per_second >= 10 else f"{progress.per_second:.2g}"
        words.append(f"{rate}/s")
    if progress.eta_seconds is not None:
        words.append(f"about {duration(progress.eta_seconds)} left")
    numbers = (item for item in progress.metrics.items() if isinstance(item[1], int | float))
    return words + [f"{name.replace('_', ' ')} {value:.4g}" for name, value in islice(numbers, MOST_FIGURES)]


def _name(view: "JobView") -> str:
    by = f" · schedule {view.schedule}" if view.schedule else ""
    return "\n".join(line for line in (view.name + by, _below(view)) if line)


def _below(view: "JobView") -> str:
    """The line below the name: what a running job is at, why another is in its state, or nothing."""
    if not at_work(view) or view.cancel_requested:
        return "" if view.reason == PLAIN_ENDING else view.reason
    phase = [] if view.progress.unit == "documents" else [view.progress.unit]
    return " · ".join([*phase, *figures_words(view)])


def _took(view: "JobView") -> str:
    seconds = took(view)
    return "" if seconds is None else duration(seconds)


def _progress(view: "JobView") -> dict[str, Any]:
    return asdict(view.progress)


def _attempt(attempt: "AttemptView") -> dict[str, Any]:
    return {**asdict(attempt), "started_at": iso(attempt.started_at), "ended_at": iso(attempt.ended_at)}


LISTING: "Listing[JobView]" = Listing(
    name="status",
    empty="There are no jobs yet; `postq submit-train` submits one.",
    columns=(
        Column(key="job", meaning="number", value=lambda v: v.id, heading="Job", right=True),
        Column(
            key="kind",
            meaning="`train`, `evaluate` or `classify`",
            value=lambda v: v.kind.value,
            heading="Kind",
        ),
        Column(
            key="state",
            meaning="state, as docs/state_machine.md draws it",
            value=lambda v: v.state.value,
            heading="State",
            cell=state_word,
            style=state_style,
        ),
        Column(
            key="waiting",
            meaning="true while it is running by its state, but no worker is on it: `reason` says for what",
            value=lambda v: v.waiting,
        ),
        Column(key="reason", meaning="why it is in its state, in one sentence", value=lambda v: v.reason),
        Column(
            key="progress",
            meaning="`done`, `total`, `unit`, `per_second`, `eta_seconds`, `metrics` (newest figures)",
            value=_progress,
            heading="Progress",
            cell=progress_words,
            style=state_style,
        ),
        Column(
            key="took_seconds",
            meaning="from the first claim to the end, or to now",
            value=lambda v: took(v),
            heading="Took",
            cell=_took,
            right=True,
        ),
        Column(
            key="name",
            meaning="short title",
            value=lambda v: v.name,
            heading="What",
            cell=_name,
            flexible=True,
        ),
        Column(
            key="documents",
            meaning="`total`, `predicted`, `quarantined`, `skipped`",
            value=lambda v: asdict(v.documents),
        ),
        Column(
            key="shards", meaning="shards by state; empty in listings once ended", value=lambda v: v.shards
        ),
        Column(
            key="retries",
            meaning="failed, lost and fenced attempts; 0 in listings",
            value=lambda v: v.retries,
        ),
        Column(
            key="workers", meaning="host and device of its workers right now", value=lambda v: list(v.workers)
        ),
        Column(
            key="result", meaning="small facts: metrics, counts, digests; or null", value=lambda v: v.result
        ),
        Column(key="error", meaning="why it failed, or null", value=lambda v: v.error),
        Column(key="hint", meaning="what to do about it, or null", value=lambda v: v.hint),
        Column(key="spec", meaning="what was asked for", value=lambda v: v.spec),
        Column(key="corpus", meaning="number of its corpus version", value=lambda v: v.corpus_id),
        Column(key="bundle", meaning="number of its bundle, or null", value=lambda v: v.bundle_id),
        Column(
            key="fingerprint",
            meaning="identifies what predicts, in hex; or null",
            value=lambda v: v.fingerprint,
        ),
        Column(key="after_job", meaning="job it waits for, or null", value=lambda v: v.after_job_id),
        Column(
            key="schedule",
            meaning="name of the schedule that submitted it, or null",
            value=lambda v: v.schedule,
        ),
        Column(key="priority", meaning="lower runs first", value=lambda v: v.priority),
        Column(key="device_kind", meaning="kind of device it needs", value=lambda v: v.device_kind),
        Column(key="memory_bytes", meaning="device memory it needs", value=lambda v: v.memory_bytes),
        Column(key="cancel_requested", meaning="true once asked to stop", value=lambda v: v.cancel_requested),
        Column(key="created_at", meaning="when it was submitted", value=lambda v: v.created_at),
        Column(key="started_at", meaning="first claim, or null", value=lambda v: v.started_at),
        Column(key="finished_at", meaning="end, or null", value=lambda v: v.finished_at),
        Column(
            key="worked_seconds",
            meaning="how long a worker was on it, without waits between attempts; null in listings",
            value=lambda v: v.worked_seconds,
        ),
        Column(
            key="attempts",
            meaning="newest attempts of its shards; empty in listings",
            value=lambda v: [_attempt(attempt) for attempt in v.attempts],
        ),
    ),
)


def job_line(view: "JobView") -> str:
    """One plain line for logs and pipes: state, and the phase with how far, or the reason."""
    progress = view.progress
    if not at_work(view):
        word = "waiting" if view.waiting else view.state.value
        return clean(f"job {view.id}: {word}: {view.reason}")
    return clean(f"job {view.id}: running: {progress.unit} {share(progress.done, progress.total)}")
