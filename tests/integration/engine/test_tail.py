"""Following a job's history: every line once, whatever order transactions end in, until the job has ended."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from postq.errors import NotFound
from postq.jobs.events import EventLine, write_event
from postq.jobs.prune import forget_job
from postq.jobs.queries import events_of
from postq.jobs.tail import Look, look_at_events
from postq.models.tables import event
from tests.acceptance.user import User
from tests.integration.engine.crossing import only_postgres
from tests.integration.engine.world import World


@pytest.fixture
def going(world: World) -> World:
    """Job 1 of two shards, and another one whose lines must not be told."""
    world.add_corpus(8)
    world.add_bundle()
    world.classify(1)
    world.classify(1)
    return world


def look(world: World, **options: Any) -> Look:
    with world.database.reading() as session:
        return look_at_events(session, 1, **options)


def numbers_of(world: World) -> list[int]:
    with world.database.reading() as session:
        return [line.id for line in events_of(session, 1)]


def test_looks_together_tell_every_line_once_until_the_job_has_ended(going: World) -> None:
    told: list[int] = []
    known: Set[int] = frozenset()
    ended = False
    while not ended:
        found = look(going, known=known)
        told += [line.id for line in found.lines]
        known, ended = found.numbers, found.ended
        if lease := going.claim():
            going.commit(lease)
    assert told == numbers_of(going)
    assert found.lines[-1].to_state == "succeeded"
    assert look(going, known=known).lines == ()


def test_the_first_look_may_begin_with_the_newest_lines(going: World) -> None:
    going.must_claim()
    found = look(going, newest=2)
    assert [line.id for line in found.lines] == numbers_of(going)[-2:]
    assert look(going, known=found.numbers).lines == ()


@only_postgres
def test_a_line_whose_transaction_ends_late_is_told_once_all_the_same(going: World) -> None:
    def write(session: Any, message: str) -> None:
        write_event(session, EventLine(job_id=1, type="note", message=message), now=going.now)

    before = look(going)
    with going.session() as slow:
        write(slow, "begun first")
        with going.session() as quick:
            write(quick, "ended first")
        first = look(going, known=before.numbers)
    second = look(going, known=first.numbers)
    assert [line.message for line in first.lines] == ["ended first"]
    assert [line.message for line in second.lines] == ["begun first"]
    assert second.lines[0].id < first.lines[0].id
    assert look(going, known=second.numbers).lines == ()


@only_postgres
def test_the_state_and_the_lines_of_a_look_are_of_one_moment(going: World) -> None:
    leases = [going.must_claim(), going.must_claim()]
    known = look(going).numbers
    with going.database.reading() as session:
        session.execute(sa.select(sa.func.count()).select_from(event))  # its moment is now
        for lease in leases:
            going.commit(lease)
        found = look_at_events(session, 1, known=known)
    assert (found.lines, found.ended) == ((), False)
    last = look(going, known=known)
    assert last.ended
    assert last.lines[-1].to_state == "succeeded"


def test_a_job_that_is_pruned_meanwhile_is_told_and_so_is_one_that_never_was(going: World) -> None:
    found = look(going)
    going.work_off()
    with going.session() as session:
        forget_job(session, 1)
    with pytest.raises(NotFound, match="pruned while it was followed"):
        look(going, known=found.numbers)
    with pytest.raises(NotFound, match="no job 1"):
        look(going)


@contextmanager
def following(world: World, out: Path, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`postq events 1 --follow` as a process that prints into a file."""
    url = world.database.engine.url.render_as_string(hide_password=False)
    user = User(home=world.settings.home, settings={"POSTQ_DATABASE_URL": url})
    command = [sys.executable, "-m", "postq", "events", "1", "--follow", *words]
    with out.open("wb") as stream, out.with_suffix(".err").open("wb") as messages:
        process = subprocess.Popen(command, env=user.environment, stdout=stream, stderr=messages)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_the_command_prints_lines_as_they_come_and_ends_with_the_job(
    going: World, tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    out = tmp_path / "lines"
    with following(going, out, "--json") as process:
        wait_until(lambda: len(out.read_text().splitlines()) == 2)
        lease = going.must_claim()
        wait_until(lambda: len(out.read_text().splitlines()) == 4)
        going.commit(lease)
        going.work_off()
        assert process.wait(timeout=30) == 0
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["event"] for line in told] == numbers_of(going)
    assert told[-1]["to_state"] == "succeeded"


def test_a_person_sees_a_heading_and_a_line_each_and_leaves_with_ctrl_c(
    going: World, tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    out = tmp_path / "lines"
    with following(going, out, "--limit", "1") as process:
        wait_until(lambda: len(out.read_text().splitlines()) == 2)
        going.must_claim()
        wait_until(lambda: len(out.read_text().splitlines()) == 4)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
    heading, planned, *rest = out.read_text().splitlines()
    assert heading.split() == ["When", "Shard", "Token", "Event", "Message"]
    assert planned.endswith("job.planned                     2 shards over 8 documents, 0 skipped")
    assert "shard.state ready → leased      worker w1" in rest[0]
    assert going.state(1).value == "running"
