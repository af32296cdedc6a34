"""Nudges over real brokers wake a real worker; hostile messages do nothing but be counted."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu import Connection, Exchange

from postq.nudges import EXCHANGE, MAX_NUDGES, TASK_NAME, nudge, queue, queue_name
from postq.settings import load_settings
from tests.faults.ground import Ground, WorkerHandle
from tests.faults.servers import PrivateRedis, free_port, running
from tests.integration.worker.conftest import MakeGround
from tests.waiting import wait_until

NEVER_POLL = {"POSTQ_POLL_SECONDS": "10000", "POSTQ_RECONCILE_SECONDS": "10000"}
BROKERS = [
    pytest.param("redis_url", marks=pytest.mark.redis),
    pytest.param("rabbitmq_url", marks=pytest.mark.rabbitmq),
]


@pytest.fixture(params=BROKERS)
def broker_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def start_listening(ground: Ground, **more: str) -> WorkerHandle:
    """A worker that would look for work on its own only once, and is idle by now."""
    worker = ground.start_worker(**{**NEVER_POLL, "POSTQ_LOG_LEVEL": "debug", **more})
    wait_until(lambda: worker.said("Nothing is left to claim."), 30, saying="the worker to be idle")
    return worker


@pytest.mark.parametrize("device_kind", ["any", "cpu"])
def test_a_nudge_wakes_an_idle_worker(broker_url: str, device_kind: str, ground_with: MakeGround) -> None:
    ground = ground_with(broker_url=broker_url)
    start_listening(ground)
    job_id = ground.classify()
    assert nudge(ground.settings, device_kind=device_kind)
    assert ground.wait_for_end(job_id) == ["failed"]


@pytest.mark.rabbitmq
def test_a_broker_that_refuses_the_login_is_asked_less_and_less_and_work_goes_on(
    rabbitmq_url: str, ground_with: MakeGround
) -> None:
    ground = ground_with(broker_url=rabbitmq_url.replace("guest:guest@", "guest:wrong@"))
    worker = ground.start_worker()
    job_id = ground.classify()
    assert ground.wait_for_end(job_id) == ["failed"]
    wait_until(lambda: worker.log.read_text().count("The broker refuses the connection") >= 3, 30)
    assert "ACCESS_REFUSED" in worker.log.read_text()
    assert "Traceback" not in worker.log.read_text()


def test_a_nudge_for_another_device_is_left_to_its_workers(broker_url: str, ground_with: MakeGround) -> None:
    ground = ground_with(broker_url=broker_url)
    start_listening(ground)
    assert nudge(ground.settings, device_kind="cuda", count=3)
    with Connection(broker_url) as connection:
        waiting = wait_until(lambda: queue("cuda")(connection.channel()).queue_declare(passive=True))
    assert waiting.message_count == 3


def test_a_nudge_sent_before_the_worker_started_is_not_needed(
    broker_url: str, ground_with: MakeGround
) -> None:
    ground = ground_with(broker_url=broker_url)
    job_id = ground.classify()
    nudge(ground.settings, device_kind="any", count=5)
    ground.start_worker(**NEVER_POLL)
    assert ground.wait_for_end(job_id) == ["failed"]


@pytest.mark.redis
def test_the_number_of_nudges_is_bounded(redis_url: str) -> None:
    settings = load_settings(broker_url=redis_url)
    assert nudge(settings, device_kind="mps", count=10_000)
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen(queue_name("mps")) == MAX_NUDGES


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2hunter2@127.0.0.1:{port}/0",
        "amqp://guest:hunter2hunter2@127.0.0.1:{port}//",
        "rediss://127.0.0.1:{port}/0",
        "redis://no-such-host.invalid:{port}/0",
    ],
)
def test_a_broker_that_is_down_or_not_to_be_found_is_told_and_nothing_raised(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = load_settings(broker_url=url.format(port=free_port()))
    assert nudge(settings, device_kind="any") is False
    told = "".join(capsys.readouterr())
    assert "The nudge was not sent" in told
    assert "hunter2" not in told


def test_the_embedded_broker_needs_no_nudge() -> None:
    assert nudge(load_settings(broker_url="memory://"), device_kind="any") is True


def test_a_worker_whose_broker_is_down_works_by_polling(ground_with: MakeGround) -> None:
    ground = ground_with(broker_url=f"redis://127.0.0.1:{free_port()}/0")
    ground.start_worker()
    assert ground.wait_for_end(ground.classify()) == ["failed"]


@pytest.mark.redis
def test_a_worker_listens_again_once_the_broker_is_back(tmp_path: Path, ground_with: MakeGround) -> None:
    server = PrivateRedis(tmp_path)
    ground = ground_with(broker_url=server.url)
    with running(server):
        start_listening(ground)
        server.kill()
        server.start()
        job_id = ground.classify()

        def nudged_until_done() -> bool:
            nudge(ground.settings, device_kind="any")
            return bool(ground.job(job_id).state == "failed")

        wait_until(nudged_until_done, 60, every=0.5, saying="a nudge to arrive after the restart")


def hostile_messages() -> list[dict[str, Any]]:
    """What somebody with access to the broker might publish, as arguments of kombu's `publish`."""
    empty = [[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    headers = {"lang": "py", "task": TASK_NAME, "id": str(uuid.uuid4()), "retries": 0}
    plain = {"body": empty, "serializer": "json", "headers": headers}
    return [
        {**plain, "headers": {**headers, "task": "os.system"}},
        {**plain, "headers": {**headers, "task": "celery.chain"}},
        {**plain, "headers": {**headers, "task": {"a": [1]}}},
        {**plain, "headers": {**headers, "eta": "2999-01-01T00:00:00"}},
        {**plain, "headers": {}},
        {**plain, "body": [["x"] * 10, {"y": 1}, {}]},
        {**plain, "body": "x" * 2_000_000},
        {**plain, "body": [[], {}, {"chain": [{"task": "postq.nudge"}]}]},
        {**plain, "serializer": "pickle"},
        {
            "body": b"cos\nsystem\n(S'touch /tmp/owned'\ntR.",
            "content_type": "application/x-python-serialize",
            "content_encoding": "binary",
            "headers": headers,
        },
    ]


def publish(broker_url: str, messages: list[dict[str, Any]]) -> None:
    with Connection(broker_url) as connection:
        producer = connection.Producer()
        for message in messages:
            target = queue("cpu")
            producer.publish(
                **message,
                exchange=Exchange(EXCHANGE.name, type="direct"),
                routing_key=target.routing_key,
                declare=[target],
            )


def test_hostile_messages_are_counted_and_the_worker_goes_on(
    broker_url: str, ground_with: MakeGround
) -> None:
    ground = ground_with(broker_url=broker_url)
    worker = start_listening(ground)
    hostile = hostile_messages()
    publish(broker_url, hostile)
    job_id = ground.classify()
    nudge(ground.settings, device_kind="cpu")
    assert ground.wait_for_end(job_id) == ["failed"]
    assert worker.drain() == 0
    (farewell,) = [line for line in worker.lines() if line["event"] == "The worker ends."]
    assert farewell["dropped_messages"] == len(hostile)


@pytest.mark.redis
def test_bytes_that_are_no_message_at_all_do_not_deafen_the_worker(
    redis_url: str, ground_with: MakeGround
) -> None:
    ground = ground_with(broker_url=redis_url)
    worker = start_listening(ground)
    with redis.Redis.from_url(redis_url) as client:
        for junk in (b"\x80\x04junk", json.dumps({"body": 1}).encode(), b"[]", b"null"):
            client.lpush(queue_name("cpu"), junk)
        wait_until(lambda: client.llen(queue_name("cpu")) == 0, 60, saying="the junk to be taken")
    job_id = ground.classify()

    def nudged_until_done() -> bool:
        nudge(ground.settings, device_kind="any")
        return bool(ground.job(job_id).state == "failed")

    wait_until(nudged_until_done, 60, every=0.5, saying="the worker to hear again")
    assert worker.said("Listening broke off and is begun anew")
    assert worker.drain() == 0
