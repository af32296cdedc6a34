"""Waiting for a job: plain lines in a pipe, the outcome as exit code, patience with a database away."""

from collections.abc import Callable
from typing import Any

import pytest

from postq.cli.invocation import Invocation
from postq.cli.jobs import watching
from postq.cli.jobs.filter import JobFilter
from postq.errors import DatabaseUnavailable
from postq.jobs.views import JobView, ProgressView
from postq.models import JobState

Make = Callable[..., JobView]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the next looks at the job give these answers, or raise them, without waiting between."""
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.0)

    def plan(*answers: Any) -> None:
        left = iter(answers)

        def ask(self: JobFilter, invocation: Invocation) -> list[JobView]:
            answer = next(left)
            if isinstance(answer, BaseException):
                raise answer
            return [answer]

        monkeypatch.setattr(JobFilter, "ask", ask)

    return plan


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (JobState.SUCCEEDED, 0),
        (JobState.FAILED, 10),
        (JobState.CANCELLED, 11),
        (JobState.SUCCEEDED_WITH_QUARANTINE, 12),
    ],
)
def test_the_exit_code_tells_how_the_job_ended(
    a_job: Make, looks: Any, state: JobState, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    looks(a_job(), a_job(state=state, reason="so it ended"))
    assert watching.wait_for_job(Invocation(), 7, json=False) == code
    out, err = capsys.readouterr()
    assert err.splitlines()[-1] == f"job 7: {state.value}: so it ended"
    assert "Job 7 · classify" in out


def test_the_way_is_told_once_a_tenth(a_job: Make, looks: Any, capsys: pytest.CaptureFixture[str]) -> None:
    steps = [
        a_job(state=JobState.RUNNING, progress=ProgressView(done=done, total=100, unit="documents"))
        for done in (0, 3, 9, 10, 11, 25, 26)
    ]
    looks(*steps, a_job(state=JobState.SUCCEEDED, reason="all work done"))
    watching.wait_for_job(Invocation(), 7, json=True)
    shares = [line.rsplit("documents ", 1)[1] for line in capsys.readouterr().err.splitlines()[:-1]]
    assert shares == ["0 %", "10 %", "25 %"]


def test_ctrl_c_says_that_the_job_goes_on(
    a_job: Make, looks: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    looks(a_job(), KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        watching.wait_for_job(Invocation(), 7, json=False)
    told = capsys.readouterr().err
    assert "job 7 goes on without this terminal" in told
    assert "postq status 7" in told


def test_a_database_that_is_away_for_a_moment_is_waited_for_and_that_is_said_once(
    a_job: Make, looks: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    away = DatabaseUnavailable("It is away.", hint="Wait.")
    looks(a_job(), away, away, a_job(state=JobState.SUCCEEDED))
    assert watching.wait_for_job(Invocation(), 7, json=True) == 0
    assert capsys.readouterr().err.count("note: It is away. Looking again for up to 2 min") == 1


def test_a_database_that_cannot_be_used_from_the_start_is_not_watched(a_job: Make, looks: Any) -> None:
    looks(DatabaseUnavailable("It is away.", hint="Wait."), a_job(state=JobState.SUCCEEDED))
    with pytest.raises(DatabaseUnavailable):
        watching.watch_jobs(Invocation(), JobFilter(job=7))


def test_a_database_that_stays_away_is_told(a_job: Make, looks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "OUTAGE_SECONDS", -1.0)
    looks(a_job(), DatabaseUnavailable("It is away.", hint="Wait."))
    with pytest.raises(DatabaseUnavailable):
        watching.wait_for_job(Invocation(), 7, json=True)
