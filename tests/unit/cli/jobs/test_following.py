"""Following a history is patient with a database that is away, once it has answered."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from postq.cli.invocation import Invocation
from postq.cli.jobs import following, watching
from postq.cli.jobs.events import LISTING
from postq.db import Database
from postq.errors import DatabaseUnavailable
from postq.jobs.tail import Look
from postq.jobs.views import EventView

AWAY = DatabaseUnavailable("It is away.", hint="Wait.")


@pytest.fixture
def looks(sqlite_database: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets the next looks at the history give these answers, or raise them, without waiting between."""
    del sqlite_database
    monkeypatch.setattr(following, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.0)

    def plan(*answers: Any) -> None:
        left = iter(answers)

        def look(*_: Any, **__: Any) -> Look:
            answer = next(left)
            if isinstance(answer, BaseException):
                raise answer
            assert isinstance(answer, Look)
            return answer

        monkeypatch.setattr("postq.jobs.tail.look_at_events", look)

    return plan


def look_with(*numbers: int, ended: bool = False) -> Look:
    lines = tuple(
        EventView(
            id=number,
            job_id=7,
            shard_id=None,
            token=None,
            at=datetime(2026, 3, 2, tzinfo=UTC),
            type="note",
            from_state=None,
            to_state=None,
            message=f"line {number} \x1b[31m",
            data=None,
        )
        for number in numbers
    )
    return Look(lines=lines, numbers=frozenset(numbers), ended=ended)


def follow() -> None:
    following.follow_events(Invocation(), 7, limit=100, json=False, listing=LISTING)


def test_a_database_that_is_away_for_a_moment_costs_no_line(
    looks: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    looks(look_with(1), look_with(2), AWAY, AWAY, look_with(3), look_with(ended=True))
    follow()
    out = capsys.readouterr().out
    assert [line.split("line ")[1][0] for line in out.splitlines()[1:]] == ["1", "2", "3"]
    assert "\x1b" not in out


def test_a_database_that_stays_away_is_told(looks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "OUTAGE_SECONDS", -1.0)
    looks(look_with(1), AWAY)
    with pytest.raises(DatabaseUnavailable):
        follow()


def test_a_database_that_is_away_from_the_start_is_told_at_once(looks: Any) -> None:
    looks(AWAY, look_with(1, ended=True))
    with pytest.raises(DatabaseUnavailable):
        follow()


@pytest.mark.parametrize("columns", [50, 80, 120])
def test_no_line_is_wider_than_the_terminal(
    columns: int, looks: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    long = look_with(1, ended=True)
    words = " ".join(f"word{number}" for number in range(40))
    looks(Look(lines=(replace(long.lines[0], message=words),), numbers=long.numbers, ended=True))
    follow()
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= columns
    assert out.split()[-40:] == words.split()


def test_lines_in_a_pipe_are_whole_and_stand_in_line(looks: Any, capsys: pytest.CaptureFixture[str]) -> None:
    looks(look_with(1, 2, ended=True))
    follow()
    heading, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert {line.index("note") for line in lines} == {heading.index("Event")}
    assert {line.index("line") for line in lines} == {heading.index("Message")}
