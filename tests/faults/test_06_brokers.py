"""Faults 6 to 9 and 13: the broker is killed, emptied, cut off, or says everything ten times."""

import random

import pytest
from kombu import Connection

from postq.crash_points import CrashPoint
from postq.nudges import nudge, queue
from tests.faults.accounting import account, check_invariants
from tests.faults.conftest import MakeGround
from tests.faults.ground import Ground
from tests.faults.servers import PrivateRedis
from tests.faults.stock import Stock
from tests.waiting import wait_until


@pytest.fixture
def redis_ground(stocked: MakeGround, sqlite_database: object, private_redis: PrivateRedis) -> Ground:
    return stocked(sqlite_database, broker_url=private_redis.url)  # type: ignore[arg-type]


@pytest.mark.redis
def test_redis_killed_without_a_trace_of_its_data_stops_nothing(
    redis_ground: Ground, private_redis: PrivateRedis, stock: Stock
) -> None:
    # Given a busy worker, frozen in its work, and nudges waiting in the broker
    ground = redis_ground
    worker = ground.start_worker(**ground.at(CrashPoint.RUNNER_STARTED, signal="STOP"))
    first = ground.classify()
    ground.wait_until_reached()
    assert nudge(ground.settings, device_kind="any", count=5)
    # When Redis is killed, forgets them, and work goes on with more of it submitted meanwhile
    private_redis.kill()
    worker.runner().resume()
    second = ground.classify()
    assert nudge(ground.settings, device_kind="any") is False
    # Then all of it is done, without Redis and with it
    assert ground.wait_for_end(first, second) == ["succeeded", "succeeded"]
    private_redis.start()
    third = ground.classify()
    assert ground.wait_for_end(third) == ["succeeded"]
    check_invariants(ground, first, second, third, digest=stock.digest)
    assert worker.drain() == 0


@pytest.mark.redis
def test_flushall_loses_nudges_and_no_work(
    redis_ground: Ground, private_redis: PrivateRedis, stock: Stock
) -> None:
    ground = redis_ground
    job_id = ground.classify()
    assert nudge(ground.settings, device_kind="any", count=5)
    with private_redis.client() as client:
        assert client.llen("postq.any") == 5
        client.flushall()
    ground.start_worker()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)


@pytest.mark.redis
def test_a_nudge_lost_with_its_worker_is_not_missed(
    redis_ground: Ground, private_redis: PrivateRedis, stock: Stock
) -> None:
    # Given the one worker that took the one nudge
    ground = redis_ground
    first = ground.start_worker(**ground.at(CrashPoint.AFTER_CLAIM))
    job_id = ground.classify()
    nudge(ground.settings, device_kind="any")
    # When it dies with the shard claimed, and the link to the broker is down
    first.process.wait(timeout=60)
    private_redis.kill()
    # Then a second worker takes over once the lease ran out
    ground.start_worker()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)


@pytest.mark.rabbitmq
def test_a_deleted_queue_and_a_cut_link_to_rabbitmq_stop_nothing(
    stocked: MakeGround, sqlite_database: object, rabbitmq_url: str, link: object, stock: Stock
) -> None:
    cable = link(rabbitmq_url)  # type: ignore[operator]
    ground = stocked(sqlite_database, broker_url=cable.through(rabbitmq_url))  # type: ignore[arg-type]
    worker = ground.start_worker()
    jobs = [ground.classify()]
    assert ground.wait_for_end(*jobs) == ["succeeded"]
    with Connection(rabbitmq_url) as connection, connection.channel() as channel:
        for kind in ("any", "cpu"):
            queue(kind)(channel).delete()
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


@pytest.mark.redis
def test_every_nudge_delivered_ten_times_and_shuffled_does_everything_once(
    redis_ground: Ground, stock: Stock
) -> None:
    ground = redis_ground
    workers = [ground.start_worker() for _ in range(2)]
    jobs = [ground.classify() for _ in range(3)]
    kinds = ["any", "cpu"] * 15
    random.Random(13).shuffle(kinds)
    for kind in kinds:
        nudge(ground.settings, device_kind=kind)
    assert ground.wait_for_end(*jobs) == ["succeeded"] * 3
    check_invariants(ground, *jobs, digest=stock.digest)
    assert [account(ground, job_id).recovered for job_id in jobs] == [0, 0, 0]
    assert [worker.drain() for worker in workers] == [0, 0]
