"""Real processes on one database: they share the work, and one killed inside a commit leaves no trace."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from postq.db import database_now
from postq.jobs.states import JOB_TERMINAL
from postq.models.attempt import Attempt, AttemptOutcome
from postq.models.job import JobState
from postq.models.tables import attempt, prediction
from tests.integration.engine.world import World

WORKER = """
import sys
from pathlib import Path
from postq.db import database_now, open_database
from postq.settings import load_settings
from tests.integration.engine.world import World

lease = float(sys.argv[4])
settings = load_settings(
    home=Path(sys.argv[2]), database_url=sys.argv[3], lease_seconds=lease, renew_seconds=lease / 4
)
world = World(open_database(settings), settings)

def tick():
    with world.database.reading() as session:
        world.now = database_now(session)

class Killed(World):
    def store(self, session, lease, **options):
        stored = super().store(session, lease, **options)
        print("inside", flush=True)
        sys.stdin.readline()
        return stored

if sys.argv[1] == "killed":
    world.__class__ = Killed
print("ready", flush=True)
sys.stdin.readline()
while True:
    tick()
    lease = world.claim(sys.argv[1])
    if lease is None:
        break
    tick()
    world.commit(lease)
"""


@pytest.fixture
def start(world: World, repository: Path) -> Callable[..., subprocess.Popen[str]]:
    """`start(name, lease_seconds)` a worker process that waits for a line before it begins."""
    url = world.database.engine.url.render_as_string(hide_password=False)

    def begin(name: str, lease_seconds: float = 60.0) -> subprocess.Popen[str]:
        arguments = [sys.executable, "-c", WORKER, name, str(world.settings.home), url, str(lease_seconds)]
        process = subprocess.Popen(
            arguments, cwd=repository, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    return begin


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def end(process: subprocess.Popen[str]) -> int:
    with process:
        return process.wait(timeout=60)


def test_processes_share_the_shards_and_none_is_done_twice(
    world: World, start: Callable[..., subprocess.Popen[str]]
) -> None:
    world.add_corpus(120)
    world.add_bundle()
    job_id = world.classify(1)
    processes = [start(f"w{number}") for number in range(3)]
    for process in processes:
        go(process)
    assert [end(process) for process in processes] == [0, 0, 0]
    world.work_off()  # a claim may miss a row that another held at that moment; polling finds it
    assert world.state(job_id) is JobState.SUCCEEDED
    with world.database.reading() as session:
        outcomes = session.execute(sa.select(attempt.c.outcome, sa.func.count()).group_by(attempt.c.outcome))
        assert {row[0]: row[1] for row in outcomes} == {AttemptOutcome.COMMITTED: 30}
    world.verify_all()


def test_a_worker_killed_inside_its_commit_leaves_no_prediction_and_another_does_the_shard(
    world: World, start: Callable[..., subprocess.Popen[str]]
) -> None:
    world.add_corpus(4)
    world.add_bundle()
    job_id = world.classify(1)
    killed = start("killed", lease_seconds=0.2)
    go(killed)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "inside\n"
    killed.send_signal(signal.SIGKILL)
    assert end(killed) == -signal.SIGKILL
    assert _stored(world) == 0
    finish(world, job_id)
    assert _stored(world) == 4
    with world.database.reading() as session:
        outcomes = list(session.scalars(sa.select(Attempt.outcome).order_by(attempt.c.id)))
    assert outcomes == [AttemptOutcome.LOST, AttemptOutcome.COMMITTED]
    world.verify_all()


def finish(world: World, job_id: int) -> None:
    """Let time pass and the work go on until the job has ended."""
    for _ in range(10):
        with world.database.reading() as session:
            world.now = max(world.now, database_now(session))
        world.later(120)
        world.maintain()
        world.work_off()
        if world.state(job_id) in JOB_TERMINAL:
            return
    raise AssertionError("the job does not end")


def _stored(world: World) -> Any:
    with world.database.reading() as session:
        return session.execute(sa.select(sa.func.count()).select_from(prediction)).scalar_one()
