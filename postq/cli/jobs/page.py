"""How one job looks in a terminal: what, why, how far, with what outcome."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from postq.cli.jobs.listing import PLAIN_ENDING, at_work, bar, figures_words, state_style, state_word, took
from postq.cli.printing.figures import FiguresTable, figures_of
from postq.cli.printing.tables import facts, grid
from postq.cli.printing.terminal import clean
from postq.cli.printing.wording import clock, duration, share, size
from postq.counted import counted
from postq.jobs.views import AttemptView, JobView
from postq.reports.looks import looks_at_test

BAR_CELLS = 24
SHOWN_ATTEMPTS = 5


def job_page(view: JobView) -> RenderableType:
    """Heading, facts, progress, figures of the result, troubles."""
    parts: list[RenderableType] = [heading(view), facts(_facts(view))]
    figures = figures_of(view.result or {}, model=str(view.spec.get("bundle", "bundle")))
    if figures:
        parts += [Text(""), *_watermark(view), FiguresTable(figures)]
    if view.error:
        parts += [Text(""), trouble(view)]
    failed = [attempt for attempt in view.attempts if attempt.failure][:SHOWN_ATTEMPTS]
    if failed:
        lines = [_attempt(each, told=view.error) for each in failed]
        parts += [Text(""), Text("Attempts that failed", style="bold"), grid(lines)]
    return Group(*parts)


def _watermark(view: JobView) -> list[RenderableType]:
    """What is wrong with every figure of an evaluation on documents that were learned from."""
    told = ((view.result or {}).get("leaks") or {}).get("watermark")
    return [Text(clean(str(told)), style="bold white on red")] if told else []


def _unchecked(view: JobView) -> str:
    """What an evaluation could not rule out."""
    leaks = (view.result or {}).get("leaks") or {}
    return "near-duplicates could not be looked for" if leaks.get("near_duplicates_unchecked") else ""


def heading(view: JobView) -> Text:
    """`Job 7 · classify · running`, and what it is about."""
    return Text.assemble(
        (f"Job {view.id}", "bold"),
        f" · {view.kind.value} · ",
        (state_word(view), state_style(view)),
        f" · {clean(view.name)}",
    )


def progress_line(view: JobView) -> Text:
    """Bar, share, phase, rate, time left and the newest figures of the running shard."""
    progress = view.progress
    if not progress.total:
        return Text("")
    parts = [f"{progress.unit} {progress.done:,} of {progress.total:,}", *map(clean, figures_words(view))]
    percent = share(progress.done, progress.total)
    return Text.assemble(
        (bar(progress.done, progress.total, cells=BAR_CELLS), "cyan"),
        f" {percent:>5}  ",
        (" · ".join(parts), "dim"),
    )


def trouble(view: JobView) -> Text:
    """Why the job failed and what to do about it."""
    text = Text.assemble(("error: ", "bold red"), clean(view.error or ""))
    if view.hint:
        text.append("\nhint: ", style="cyan").append(clean(view.hint))
    return text


def _facts(view: JobView) -> list[tuple[str, RenderableType | None]]:
    return [
        ("why", None if view.reason in (PLAIN_ENDING, view.error) else view.reason),
        ("progress", (progress_line(view) or None) if view.state.value == "running" else None),
        ("documents", _documents(view)),
        ("test split", _looks(view)),
        ("leaks", _unchecked(view)),
        ("detectors", _detections(view)),
        ("drift", _drift(view)),
        ("shards", _shards(view)),
        ("workers", ", ".join(view.workers)),
        ("schedule", view.schedule),
        ("bundle", f"{view.bundle_id}" if view.bundle_id else None),
        ("precision", _precision(view)),
        ("needs", _needs(view)),
        ("retries", counted(view.retries, "failed attempt") if view.retries else None),
        ("submitted", clock(view.created_at)),
        ("took", _took(view)),
    ]


def _precision(view: JobView) -> str | None:
    """What the job, or a training's recipe, was told to multiply in, if anything."""
    told = view.spec.get("precision") or view.spec.get("recipe", {}).get("precision")
    return told and str(told)


def _took(view: JobView) -> str | None:
    """From the first claim to the end, and how much of it was work, where a tenth and more was waiting."""
    seconds = took(view)
    if seconds is None:
        return None
    worked = view.worked_seconds
    if worked is None or seconds - worked < max(1.0, seconds / 10):
        return duration(seconds)
    return f"{duration(seconds)}, {duration(worked)} of it with a worker"


def _documents(view: JobView) -> str:
    counts = view.documents
    told = _result_words(view.result or {})
    if told:
        return told
    if view.kind.value == "train":
        return f"{counts.total:,}"
    parts = [f"{counts.predicted:,} of {counts.total:,} scored"]
    if counts.quarantined:
        parts.append(f"{counts.quarantined:,} quarantined")
    if counts.skipped and view.kind.value == "classify":
        parts.append(f"{counts.skipped:,} scored before")
    return " · ".join(parts)


def _result_words(result: Mapping[str, Any]) -> str:
    """How many documents a training or evaluation used, once it says so."""
    documents = result.get("documents")
    if isinstance(documents, Mapping):
        return " · ".join(f"{number:,} {split}" for split, number in documents.items())
    if isinstance(documents, int) and "split" in result:
        return f"{documents:,} of the {result['split']} split"
    return ""


def _looks(view: JobView) -> str:
    looks = (view.result or {}).get("test_touches")
    return f"evaluated {looks_at_test(looks)}" if isinstance(looks, int) else ""


def _detections(view: JobView) -> Text | None:
    fired = (view.result or {}).get("detections") or ()
    if not fired:
        return None
    return Text.assemble(
        (clean(", ".join(map(str, fired))), "yellow"), f" (explained by: postq events {view.id})"
    )


def _drift(view: JobView) -> Text | None:
    """What the drift watch found of a scheduled job; nothing before it has looked."""
    found = (view.result or {}).get("drift")
    if not isinstance(found, Mapping):
        return None
    if found["alarms"] is None:
        return Text(f"not compared (why: postq events {view.id})")
    if not found["alarms"]:
        return Text(clean(f"none against {found['against']}"))
    told = f"{counted(found['alarms'], 'alarm')} against {found['against']}"
    return Text.assemble((clean(told), "yellow"), f" (explained by: postq drift {view.id})")


def _shards(view: JobView) -> str | None:
    if sum(view.shards.values()) < 2:
        return None
    return " · ".join(f"{number:,} {state}" for state, number in view.shards.items())


def _needs(view: JobView) -> str | None:
    if view.device_kind == "any" and not view.memory_bytes:
        return None
    return f"{view.device_kind} device" + (f" with {size(view.memory_bytes)}" if view.memory_bytes else "")


def _attempt(attempt: AttemptView, *, told: str | None) -> tuple[Text, Text, Text, Text]:
    """Which, how, where, and why unless the error above says so in the same words."""
    failure = "" if attempt.failure == attempt.outcome else f" ({attempt.failure})"
    return (
        Text(f"shard {attempt.shard_id}", style="dim"),
        Text(f"{attempt.outcome}{failure}", style="red"),
        Text(clean(f"{attempt.hostname or ''} {attempt.device}".strip()), style="dim"),
        Text(clean(attempt.message or "") if attempt.message != told else ""),
    )


def live_lines(view: JobView) -> RenderableType:
    """What `--wait` shows while the job goes on: heading, then how far or why not yet."""
    seconds = took(view)
    first = heading(view)
    if seconds is not None:
        first.append(f" · {duration(seconds)}", style="dim")
    second = progress_line(view) if at_work(view) else Text(clean(view.reason), style="dim")
    return Group(first, second)
