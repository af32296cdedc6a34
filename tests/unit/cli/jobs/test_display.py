"""A job on the screen: what it is at, how far, why, and with what outcome."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from postq.cli.jobs.listing import LISTING, bar, job_line
from postq.cli.jobs.page import job_page, live_lines
from postq.cli.printing.tables import FittedListing
from postq.contracts.specs import JobKind
from postq.jobs.views import AttemptView, DocumentCounts, JobView, ProgressView
from postq.models import JobState

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
Make = Callable[..., JobView]
Print = Callable[..., str]


def running(a_job: Make, **given: Any) -> JobView:
    progress = ProgressView(done=312, total=600, unit="documents", per_second=123.4, eta_seconds=2.3)
    facts = {"state": JobState.RUNNING, "reason": "1 shard running, 0 waiting", "progress": progress}
    return a_job(**{**facts, "started_at": NOON, **given})


def test_a_waiting_job_says_why(a_job: Make, printed: Print) -> None:
    text = printed(FittedListing(LISTING.columns, [a_job()]))
    assert "ready" in text
    assert "waits for a worker: no worker is running" in text.replace("\n", " ")


def test_a_running_job_shows_how_far_how_fast_and_how_long(a_job: Make, printed: Print) -> None:
    text = printed(job_page(running(a_job)))
    assert "52 %" in text
    assert "312 of 600" in text
    assert "123/s" in text
    assert "about 2.3 s left" in text


def test_a_running_training_shows_its_phase_and_newest_figures(a_job: Make, printed: Print) -> None:
    progress = ProgressView(done=40, total=100, unit="training", metrics={"loss": 0.21345, "note": "x"})
    text = printed(live_lines(running(a_job, kind=JobKind.TRAIN, progress=progress)), width=100)
    assert "training 40 of 100" in text
    assert "loss 0.2135" in text
    assert "note" not in text


def test_a_training_without_a_worker_waits_and_says_for_what(a_job: Make, printed: Print) -> None:
    nothing = ProgressView(done=0, total=0, unit="job")
    reason = "tries again in 40 s after: disk_full: no space left"
    waiting = running(a_job, kind=JobKind.TRAIN, progress=nothing, reason=reason, waiting=True)
    for text in (
        printed(job_page(waiting), width=100),
        printed(live_lines(waiting), width=100),
        printed(FittedListing(LISTING.columns, [waiting]), width=100),
        job_line(waiting),
    ):
        assert "waiting" in text
        assert "tries again in 40 s" in text
        assert "running" not in text
        assert "%" not in text
    told = LISTING.as_dict(waiting)
    assert (told["state"], told["waiting"], told["reason"]) == ("running", True, reason)


def test_a_classification_without_a_worker_shows_how_far_it_is_and_why_it_waits(
    a_job: Make, printed: Print
) -> None:
    waiting = running(a_job, reason="waits for a worker: no worker is running", waiting=True)
    text = printed(job_page(waiting), width=100)
    assert "312 of 600" in text
    assert "no worker is running" in text
    assert "no worker is running" in printed(live_lines(waiting), width=100)


@pytest.mark.parametrize(
    ("worked", "told"),
    [
        (None, "10 min 00 s"),
        (595.0, "10 min 00 s"),
        (90.0, "10 min 00 s, 1 min 30 s of it with a worker"),
    ],
)
def test_a_job_that_waited_between_attempts_says_how_long_it_was_worked_on(
    worked: float | None, told: str, a_job: Make, printed: Print
) -> None:
    ended = running(a_job, finished_at=NOON + timedelta(minutes=10), worked_seconds=worked)
    lines = printed(job_page(ended)).splitlines()
    (took,) = [line.split("took")[1].strip() for line in lines if line.strip().startswith("took")]
    assert took == told


def test_an_error_is_told_once(a_job: Make, printed: Print) -> None:
    error = "There is no folder models/none."
    attempt = AttemptView(
        id=1,
        shard_id=4,
        token=1,
        worker_id="w",
        hostname="here",
        device="cpu",
        outcome="failed",
        failure="bad_input",
        message=error,
        started_at=NOON,
        ended_at=NOON,
    )
    failed = a_job(
        state=JobState.FAILED, reason=error, error=error, hint="Name another.", attempts=(attempt,)
    )
    text = printed(job_page(failed), width=100)
    assert text.count(error) == 1
    assert "shard 4  failed (bad_input)" in text


def test_an_ended_job_counts_its_documents(a_job: Make, printed: Print) -> None:
    ended = a_job(
        state=JobState.SUCCEEDED_WITH_QUARANTINE,
        reason="all work done; 2 documents quarantined",
        documents=DocumentCounts(total=600, predicted=500, quarantined=2, skipped=98),
        started_at=NOON,
        finished_at=NOON + timedelta(seconds=65),
    )
    page, table = printed(job_page(ended)), printed(FittedListing(LISTING.columns, [ended]))
    assert "500 of 600 scored · 2 quarantined · 98 scored before" in page
    assert "2 documents quarantined" in page
    assert "1 min 05 s" in page
    assert "500 scored" in table


def test_a_failed_job_shows_its_error_hint_and_attempts(a_job: Make, printed: Print) -> None:
    attempt = AttemptView(
        id=1,
        shard_id=3,
        token=1,
        worker_id="w",
        hostname="here",
        device="cpu",
        outcome="failed",
        failure="bad_input",
        message="The corpus has no labels.",
        started_at=NOON,
        ended_at=NOON,
    )
    failed = a_job(
        state=JobState.FAILED,
        reason="bad",
        error="No labels.",
        hint="Add some.",
        attempts=(attempt,),
        retries=1,
    )
    text = printed(job_page(failed))
    assert "error: No labels." in text
    assert "hint: Add some." in text
    assert "shard 3  failed (bad_input)  here cpu  The corpus has no labels." in text
    lost = replace(attempt, outcome="lost", failure="lost", hostname=None, message="its lease ran out")
    assert "shard 3  lost  cpu  its lease ran out" in printed(job_page(replace(failed, attempts=(lost,))))


REPORT = {
    "split": "test",
    "report": {
        "tracks": {
            "all": {
                cut: {"micro_f1": 0.5 + place / 10, "macro_f1": None if place == 2 else 0.25}
                for place, cut in enumerate(("half", "global", "default"))
            }
        },
        "ranking": {"map": 0.875},
    },
}


def test_an_evaluation_shows_f1_at_each_threshold(a_job: Make, printed: Print) -> None:
    text = printed(job_page(a_job(kind=JobKind.EVALUATE, state=JobState.SUCCEEDED, result=REPORT)))
    assert "0.500/0.250" in text
    assert "0.700/–" in text
    assert "0.875" in text


def test_an_evaluation_on_documents_learned_from_says_so_above_its_figures(
    a_job: Make, printed: Print
) -> None:
    mark = "CONTAMINATED: trained or tuned on 12 of 80 documents"
    result = REPORT | {"leaks": {"documents": 12, "watermark": mark}}
    text = printed(job_page(a_job(kind=JobKind.EVALUATE, state=JobState.SUCCEEDED, result=result)))
    assert 0 < text.index(mark) < text.index("0.500/0.250")
    unchecked = REPORT | {"leaks": {"documents": 0, "near_duplicates_unchecked": True}}
    text = printed(job_page(a_job(kind=JobKind.EVALUATE, state=JobState.SUCCEEDED, result=unchecked)))
    assert "near-duplicates could not be looked for" in text


def test_a_training_shows_its_test_figures_first(a_job: Make, printed: Print) -> None:
    rows = [
        {"model": "mine", "split": split, "thresholds": cut, "map": 0.5, "micro_f1": 0.75, "macro_f1": 0.5}
        for split in ("validation", "test")
        for cut in ("half", "global", "default")
    ]
    page = printed(
        job_page(
            a_job(kind=JobKind.TRAIN, state=JobState.SUCCEEDED, result={"metrics": {"comparison": rows}})
        )
    )
    table = page[page.index("F1 micro/macro") :]
    assert 0 < table.index("mine") < table.index("test") < table.index("validation")
    assert table.count("mine") == 1


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_of_the_list_is_wider_than_the_terminal(a_job: Make, printed: Print, width: int) -> None:
    jobs = [a_job(), running(a_job, id=123456, name="a-very-long-corpus-name-indeed v12 with " + "x" * 60)]
    assert max(map(len, printed(FittedListing(LISTING.columns, jobs), width=width).splitlines())) <= width


def test_what_a_name_or_an_error_holds_cannot_drive_the_terminal(a_job: Make, printed: Print) -> None:
    hostile = "evil\x1b]0;owned\x07\x1b[2Jname [bold]not markup[/bold]"
    job = a_job(state=JobState.FAILED, name=hostile, reason=hostile, error=hostile, hint=hostile)
    text = printed(job_page(job)) + printed(FittedListing(LISTING.columns, [job])) + job_line(job)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[bold]" in text


def test_json_has_exactly_the_documented_keys_and_survives_a_round_trip(a_job: Make) -> None:
    shown = LISTING.as_dict(running(a_job))
    assert tuple(shown) == LISTING.keys
    assert json.loads(json.dumps(shown)) == shown
    assert shown["started_at"] == "2026-03-04T12:00:00Z"
    assert shown["progress"]["eta_seconds"] == 2.3


@pytest.mark.parametrize(
    ("done", "total", "drawn"),
    [(0, 8, "░" * 8), (4, 8, "████░░░░"), (7, 8, "███████░"), (8, 8, "█" * 8), (9, 8, "█" * 8), (0, 0, "")],
)
def test_the_bar_is_full_only_at_the_end(done: int, total: int, drawn: str) -> None:
    assert bar(done, total) == drawn


def test_a_plain_line_says_state_and_share(a_job: Make) -> None:
    assert job_line(running(a_job)) == "job 7: running: documents 52 %"
    assert job_line(a_job()) == "job 7: ready: waits for a worker: no worker is running"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"precision": "bf16"}, True),
        ({"recipe": {"precision": "bf16"}}, True),
        ({"recipe": {}}, False),
        ({}, False),
    ],
)
def test_a_precision_that_was_asked_for_is_told(
    a_job: Make, printed: Print, spec: dict[str, Any], *, told: bool
) -> None:
    text = printed(job_page(a_job(spec=spec)))
    assert ("precision  bf16" in text) == told
