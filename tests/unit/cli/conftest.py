"""Jobs as the engine would show them, made by hand."""

import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console, RenderableType

from postq.contracts.specs import JobKind
from postq.jobs.views import DocumentCounts, JobView, ProgressView
from postq.models import JobState

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture
def a_job() -> Callable[..., JobView]:
    """Makes a job; what is not given is that of a classification nobody has claimed."""

    def make(**given: Any) -> JobView:
        facts: dict[str, Any] = {
            "id": 7,
            "kind": JobKind.CLASSIFY,
            "state": JobState.READY,
            "reason": "waits for a worker: no worker is running",
            "waiting": False,
            "name": "opinions v1 with @production",
            "priority": 100,
            "spec": {"bundle": "@production"},
            "corpus_id": 1,
            "bundle_id": 2,
            "fingerprint": "ab" * 16,
            "after_job_id": None,
            "schedule": None,
            "device_kind": "any",
            "memory_bytes": 0,
            "cancel_requested": False,
            "documents": DocumentCounts(total=600, predicted=0, quarantined=0, skipped=0),
            "progress": ProgressView(done=0, total=600, unit="documents"),
            "shards": {"ready": 1},
            "retries": 0,
            "workers": (),
            "result": None,
            "error": None,
            "hint": None,
            "created_at": NOON,
            "started_at": None,
            "finished_at": None,
        }
        return JobView(**{**facts, **given})

    return make


@pytest.fixture
def printed() -> Callable[..., str]:
    """Prints something as a terminal of `width` columns would show it, without colours."""

    def render(thing: RenderableType, *, width: int = 80) -> str:
        console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
        with console.capture() as captured:
            console.print(thing)
        return captured.get()

    return render
