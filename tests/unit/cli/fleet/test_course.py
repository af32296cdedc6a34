"""`postq up --until-idle` tells what runs and what has ended, and of a job that waits when nothing runs."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from rich.console import Console

from postq.cli.fleet import course
from postq.cli.fleet.course import course_of_jobs
from postq.cli.invocation import Invocation
from postq.cli.jobs import watching
from postq.cli.printing.terminal import messages, say
from postq.contracts.recipes import TfidfRecipe
from postq.contracts.specs import TrainSpec
from postq.db import Database, database_now
from postq.errors import DatabaseUnavailable
from postq.jobs.submit import submit
from postq.models import Corpus, JobState
from postq.models.tables import job
from postq.settings import Settings

Move = Callable[..., None]
ERASED = "\x1b[2K"
"""What a terminal is told to wipe a line."""


@pytest.fixture
def move(sqlite_database: Database, settings: Settings) -> Move:
    """`move(1, "running", …)`: two jobs, of which one is put into a state, whatever the way there."""
    with sqlite_database.transaction() as session:
        now = database_now(session)
        facts: dict[str, Any] = {"digest": "d", "source": "test", "documents": 4, "words": 9, "facts": {}}
        facts["labelled_documents"] = 4
        session.add(Corpus(id=1, name="opinions", version=1, path="corpora/o", created_at=now, **facts))
        session.flush()
        for name in ("first", "second"):
            spec = TrainSpec(corpus_id=1, bundle_name=name, recipe=TfidfRecipe())
            submit(session, spec, now=now, settings=settings)

    def put(job_id: int, state: JobState, **more: Any) -> None:
        with sqlite_database.transaction() as session:
            session.execute(sa.update(job).where(job.c.id == job_id).values(state=state, **more))

    return put


@pytest.fixture
def settings(sqlite_database: Database) -> Settings:
    del sqlite_database
    return Settings()


def test_what_runs_and_what_has_ended_is_told_once_each(
    move: Move, capsys: pytest.CaptureFixture[str]
) -> None:
    def told() -> list[str]:
        return [line.partition(": ")[2].partition(":")[0] for line in capsys.readouterr().err.splitlines()]

    with course_of_jobs(Invocation()) as all_ended:
        assert not all_ended()
        assert told() == []
        move(1, JobState.RUNNING)
        assert [all_ended() for _ in range(3)] == [False] * 3
        assert told() == ["waiting"]
        move(1, JobState.SUCCEEDED)
        move(2, JobState.RUNNING)
        assert [all_ended() for _ in range(3)] == [False] * 3
        assert told() == ["succeeded", "waiting"]
        move(2, JobState.FAILED)
        assert all_ended()
        assert told() == ["failed"]


def test_on_a_terminal_what_runs_is_shown_and_messages_stand_above_it(
    move: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100, highlight=False)
    monkeypatch.setattr(course, "messages", lambda: terminal)

    def shown() -> str:
        text = screen.getvalue()
        screen.seek(0)
        screen.truncate()
        return text

    with course_of_jobs(Invocation()) as all_ended:
        move(1, JobState.RUNNING)
        assert not all_ended()
        assert "first on opinions" in shown()
        say("a worker was started again")
        above, _, below = shown().partition("a worker was started again")
        assert above.count(ERASED)
        assert "first on opinions" in below
        move(1, JobState.SUCCEEDED)
        assert not all_ended()
        assert "job 1: succeeded" in shown()
    assert terminal is not messages()


def test_a_job_that_waits_is_told_of_once_nothing_has_run_for_a_while(
    move: Move, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    del move
    monkeypatch.setattr(course, "PATIENCE_SECONDS", 0.0)
    with course_of_jobs(Invocation()) as all_ended:
        assert not all_ended()
        assert not all_ended()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("job 2: ready: waits for a worker")


def test_a_database_that_is_away_is_waited_for_and_no_ending_is_missed(
    move: Move, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    away = DatabaseUnavailable("It is away.", hint="Wait.")

    def fail(*_: object, **__: object) -> None:
        raise away

    with course_of_jobs(Invocation()) as all_ended:
        assert not all_ended()
        move(1, JobState.SUCCEEDED)
        move(2, JobState.FAILED)
        for name in ("unended_jobs", "JobFilter"):
            with monkeypatch.context() as outage:
                outage.setattr(course, name, fail)
                assert [all_ended() for _ in range(2)] == [False] * 2
        assert all_ended()
        note, first, second = capsys.readouterr().err.splitlines()
        assert note.startswith("note: It is away. Looking again for up to")
        assert [first.partition(":")[0], second.partition(":")[0]] == ["job 1", "job 2"]
        # For ever it is not waited for
        monkeypatch.setattr(watching, "OUTAGE_SECONDS", -1.0)
        monkeypatch.setattr(course, "unended_jobs", fail)
        with pytest.raises(DatabaseUnavailable):
            all_ended()
