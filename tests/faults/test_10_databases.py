"""Faults 10 to 12: the database stops, its answer is lost, or it is out of reach past the lease."""

import signal
from pathlib import Path

import pytest
import sqlalchemy as sa

from postq.crash_points import CrashPoint
from postq.db import database_now
from postq.models.shard import ShardState
from postq.models.tables import shard
from tests import databases
from tests.faults.accounting import check_invariants, check_no_orphans
from tests.faults.conftest import MakeGround, MakeLink
from tests.faults.ground import PATIENT, Ground, is_stopped, runners_of
from tests.faults.servers import PrivatePostgres
from tests.faults.stock import Stock
from tests.waiting import wait_until

no_server = pytest.mark.never(sqlite="a file: no server to stop and no link to cut")


@pytest.fixture
def private_ground(
    stocked: MakeGround, private_postgres: PrivatePostgres, broker_url: str, tmp_path: Path
) -> Ground:
    """On a PostgreSQL of its own."""
    database = databases.opened(private_postgres.url, home=tmp_path)
    ground = stocked(database, broker_url=broker_url)
    database.dispose()
    return ground


@pytest.mark.fault(10)
@pytest.mark.usual("postgresql-embedded")
@no_server
def test_workers_outlive_an_immediate_stop_of_postgres(
    private_ground: Ground, private_postgres: PrivatePostgres, stock: Stock
) -> None:
    # Given a runner in the middle of a shard
    ground = private_ground
    worker = ground.start_worker(**ground.at(CrashPoint.RUNNER_MIDWAY, nth=2, signal="STOP"))
    job_id = ground.classify()
    ground.wait_until_reached()
    # When PostgreSQL stops without a goodbye, and the runner finishes meanwhile
    private_postgres.stop_immediately()
    worker.wake_runner()
    wait_until(lambda: worker.said("The database is away"), 30)
    # Then the worker waits for it, and all is done after the restart, without a new worker
    assert worker.alive()
    private_postgres.start()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)
    assert worker.drain() == 0


@pytest.mark.fault(11)
@pytest.mark.usual("postgresql-redis")
@no_server
def test_a_commit_whose_answer_was_lost_is_stored_once(ground: Ground, link: MakeLink, stock: Stock) -> None:
    # Given a supervisor frozen right before it says COMMIT, over a link of its own
    cable = link(ground.database_url)
    far_away = {"POSTQ_DATABASE_URL": cable.through(ground.database_url)}
    freezing = ground.at(CrashPoint.INSIDE_COMMIT, nth=2, signal="STOP")
    worker = ground.start_worker(**freezing, **far_away, **PATIENT)
    job_id = ground.classify()
    ground.wait_until_reached()
    wait_until(lambda: is_stopped(worker.pid))
    done_before = sum(one.state == ShardState.DONE for one in ground.shards(job_id))
    # When COMMIT passes but its answer does not, and then the connection breaks
    cable.set("deaf")
    worker.send(signal.SIGCONT)
    wait_until(lambda: _done(ground, job_id) == done_before + 1, 30, saying="the commit to arrive")
    cable.set("down")
    cable.set("up")
    # Then the worker asks again, finds it done, and the rest follows
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)
    assert [one.attempts + one.crashes for one in ground.shards(job_id)] == [0] * 6
    assert worker.drain() == 0


@pytest.mark.fault(12)
@pytest.mark.usual("postgresql-rabbitmq")
@no_server
def test_a_worker_cut_off_past_its_lease_stops_computing_and_is_fenced(
    ground: Ground, link: MakeLink, stock: Stock
) -> None:
    # Given a worker whose link to the database stands still while its runner is at work
    cable = link(ground.database_url)
    far_away = {"POSTQ_DATABASE_URL": cable.through(ground.database_url)}
    cut_off = ground.start_worker(**ground.at(CrashPoint.RUNNER_MIDWAY, nth=2, signal="STOP"), **far_away)
    job_id = ground.classify()
    ground.wait_until_reached()
    cable.set("frozen")
    # Then its runner is ended when the lease runs out, although no error ever came
    wait_until(lambda: not runners_of(ground.home), 30, saying="the runner to be ended")
    assert cut_off.alive()
    # And another worker does the work
    ground.start_worker()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    # And when the link is mended the first is fenced and fit for work again
    cable.set("up")
    wait_until(lambda: cut_off.said("The attempt ended."), 30)
    second = ground.classify()
    assert ground.wait_for_end(second) == ["succeeded"]
    check_invariants(ground, job_id, second, digest=stock.digest)
    assert [worker.drain() for worker in ground.workers] == [0, 0]
    check_no_orphans(ground.home)


@pytest.mark.fault(12)
@pytest.mark.usual("postgresql-embedded")
@no_server
def test_a_worker_that_drains_while_the_database_stands_still_ends_all_the_same(
    ground: Ground, link: MakeLink, stock: Stock
) -> None:
    # Given an idle worker that has looked for work through a link which then stands still
    cable = link(ground.database_url)
    far_away = {"POSTQ_DATABASE_URL": cable.through(ground.database_url)}
    worker = ground.start_worker(POSTQ_DRAIN_SECONDS="0.5", **far_away)
    first = ground.classify()
    assert ground.wait_for_end(first) == ["succeeded"]
    cable.set("frozen")
    # Then it ends, and another worker goes on
    assert worker.drain() == 128 + signal.SIGTERM
    check_no_orphans(ground.home)
    ground.start_worker()
    second = ground.classify()
    assert ground.wait_for_end(second) == ["succeeded"]
    check_invariants(ground, first, second, digest=stock.digest)


@pytest.mark.fault(12)
@pytest.mark.usual("sqlite-embedded")
@pytest.mark.never(postgresql="it has no lock that keeps everybody from writing; its link is cut instead")
def test_a_worker_kept_from_writing_past_its_lease_stops_computing_and_works_on(
    ground: Ground, stock: Stock
) -> None:
    # Given a runner in the middle of a shard
    worker = ground.start_worker(**ground.at(CrashPoint.RUNNER_MIDWAY, nth=2, signal="STOP"))
    job_id = ground.classify()
    ground.wait_until_reached()
    # When somebody holds the one write lock for longer than the lease lasts
    with ground.database.transaction() as session:
        database_now(session)
        wait_until(lambda: not runners_of(ground.home), 30, saying="the runner to be ended")
    # Then the worker, which could not renew, does the shard again as soon as it can write
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)
    assert worker.drain() == 0
    check_no_orphans(ground.home)


def _done(ground: Ground, job_id: int) -> int:
    query = sa.select(sa.func.count()).where(shard.c.job_id == job_id, shard.c.state == ShardState.DONE)
    return int(ground.one(query)[0])
