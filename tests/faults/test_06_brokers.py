"""Faults 6 to 9 and 13: the broker is killed, emptied, cut off, or says everything ten times."""

import random

import pytest

from postq.crash_points import CrashPoint
from postq.nudges import nudge
from tests.faults.accounting import account, check_invariants
from tests.faults.brokers import PrivateBroker, delete_queues, forget, waiting
from tests.faults.conftest import MakeGround, MakeLink
from tests.faults.ground import PATIENT, Ground
from tests.faults.stock import Stock
from tests.waiting import wait_until

pytestmark = pytest.mark.never(embedded="there is no broker: workers only poll")


@pytest.fixture
def private_ground(stocked: MakeGround, database: object, private_broker: PrivateBroker) -> Ground:
    """With a broker that may be killed."""
    return stocked(database, broker_url=private_broker.url)  # type: ignore[arg-type]


@pytest.mark.fault(6)
@pytest.mark.usual("sqlite-redis")
def test_a_broker_killed_without_a_trace_of_its_data_stops_nothing(
    private_ground: Ground, private_broker: PrivateBroker, stock: Stock
) -> None:
    # Given a busy worker, frozen in its work, and nudges waiting in the broker
    ground = private_ground
    worker = ground.start_worker(**ground.at(CrashPoint.RUNNER_STARTED, signal="STOP"))
    first = ground.classify()
    ground.wait_until_reached()
    assert nudge(ground.settings, device_kind="any", count=5)
    # When the broker is killed, forgets them, and work goes on with more of it submitted meanwhile
    private_broker.kill()
    worker.wake_runner()
    second = ground.classify()
    assert nudge(ground.settings, device_kind="any") is False
    # Then all of it is done, without the broker and with it
    assert ground.wait_for_end(first, second) == ["succeeded", "succeeded"]
    private_broker.start()
    third = ground.classify()
    assert ground.wait_for_end(third) == ["succeeded"]
    check_invariants(ground, first, second, third, digest=stock.digest)
    assert worker.drain() == 0


@pytest.mark.fault(7)
@pytest.mark.usual("sqlite-redis")
def test_a_broker_that_forgets_everything_loses_nudges_and_no_work(
    private_ground: Ground, private_broker: PrivateBroker, stock: Stock
) -> None:
    ground = private_ground
    job_id = ground.classify()
    assert nudge(ground.settings, device_kind="any", count=5)
    wait_until(lambda: waiting(private_broker.url) == 6, 30, saying="six nudges to wait in the broker")
    forget(private_broker)
    ground.start_worker()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)


@pytest.mark.fault(8)
@pytest.mark.usual("sqlite-redis")
def test_a_nudge_lost_with_its_worker_is_not_missed(
    private_ground: Ground, private_broker: PrivateBroker, stock: Stock
) -> None:
    # Given the one worker that took the one nudge
    ground = private_ground
    first = ground.start_worker(**ground.at(CrashPoint.AFTER_CLAIM))
    job_id = ground.classify()
    # When it dies with the shard claimed, and the link to the broker is down
    first.process.wait(timeout=60)
    private_broker.kill()
    # Then a second worker takes over once the lease ran out
    ground.start_worker()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)


@pytest.mark.fault(9)
@pytest.mark.usual("sqlite-rabbitmq")
def test_deleted_queues_and_a_cut_link_to_the_broker_stop_nothing(
    stocked: MakeGround, database: object, broker_url: str, link: MakeLink, stock: Stock
) -> None:
    cable = link(broker_url)
    ground = stocked(database, broker_url=cable.through(broker_url))  # type: ignore[arg-type]
    worker = ground.start_worker()
    jobs = [ground.classify()]
    assert ground.wait_for_end(*jobs) == ["succeeded"]
    delete_queues(broker_url)
    jobs.append(ground.classify())
    assert ground.wait_for_end(*jobs) == ["succeeded"] * 2
    cable.set("down")
    jobs.append(ground.classify())
    assert nudge(ground.settings, device_kind="any") is False
    assert ground.wait_for_end(*jobs) == ["succeeded"] * 3
    cable.set("up")
    wait_until(lambda: nudge(ground.settings, device_kind="any"), 30, every=0.2)
    jobs.append(ground.classify())
    assert ground.wait_for_end(*jobs) == ["succeeded"] * 4
    check_invariants(ground, *jobs, digest=stock.digest)
    assert worker.drain() == 0


@pytest.mark.fault(13)
@pytest.mark.usual("sqlite-redis", "postgresql-rabbitmq")
def test_every_nudge_delivered_ten_times_and_shuffled_does_everything_once(
    ground: Ground, stock: Stock
) -> None:
    workers = [ground.start_worker(**PATIENT) for _ in range(2)]
    jobs = [ground.classify() for _ in range(3)]
    kinds = ["any", "cpu"] * 15
    random.Random(13).shuffle(kinds)
    for kind in kinds:
        nudge(ground.settings, device_kind=kind)
    assert ground.wait_for_end(*jobs) == ["succeeded"] * 3
    check_invariants(ground, *jobs, digest=stock.digest)
    assert [account(ground, job_id).recovered for job_id in jobs] == [0, 0, 0]
    assert [worker.drain() for worker in workers] == [0, 0]
