"""Fault 9: a RabbitMQ of its own, over TLS with a password, is stopped, started again, and emptied."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from postq.broker import broker_connection
from postq.crash_points import CrashPoint
from postq.nudges import nudge, queue
from postq.settings import load_settings
from tests.certificates import make_certificates
from tests.faults.accounting import check_invariants
from tests.faults.conftest import MakeGround
from tests.faults.ground import Ground
from tests.faults.servers import PrivateRabbitMQ, running
from tests.faults.stock import Stock
from tests.waiting import wait_until

PASSWORD = "hunter2hunter2"
pytestmark = pytest.mark.rabbitmq


@pytest.fixture(scope="module")
def private_rabbitmq() -> Iterator[PrivateRabbitMQ]:
    with tempfile.TemporaryDirectory(prefix="postq-rabbitmq-") as folder:
        make_certificates(Path(folder))
        server = PrivateRabbitMQ(Path(folder), password=PASSWORD)
        with running(server):
            yield server


def listeners(ground: Ground) -> int:
    """How many workers the broker would hand a nudge of kind `any` to."""
    with broker_connection(ground.settings, timeout_seconds=2.0) as connection:
        return int(queue("any")(connection.channel()).queue_declare(passive=True).consumer_count)


def doctor_says(ground: Ground) -> str:
    command = [sys.executable, "-m", "postq", "doctor"]
    done = subprocess.run(
        command, env=ground.environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert PASSWORD not in done.stdout + done.stderr
    return " ".join(done.stdout.split())


def test_only_a_server_that_proves_itself_is_given_the_password(
    private_rabbitmq: PrivateRabbitMQ, capsys: pytest.CaptureFixture[str]
) -> None:
    other = private_rabbitmq.url.replace("server.crt", "other.crt")
    by_name = private_rabbitmq.url.replace("127.0.0.1", "127.0.0.2")
    assert nudge(load_settings(broker_url=private_rabbitmq.url), device_kind="cpu")
    for url in (private_rabbitmq.base_url, other, by_name):
        assert not nudge(load_settings(broker_url=url), device_kind="cpu")
    assert nudge(
        load_settings(broker_url=f"{private_rabbitmq.base_url}?ssl_cert_reqs=none"), device_kind="cpu"
    )
    assert "hunter2" not in "".join(capsys.readouterr())


def test_a_server_stopped_and_started_and_its_queues_deleted_hold_up_nothing(
    stocked: MakeGround, sqlite_database: object, private_rabbitmq: PrivateRabbitMQ, stock: Stock
) -> None:
    # Given a listening worker with a shard at work
    ground = stocked(sqlite_database, broker_url=private_rabbitmq.url)  # type: ignore[arg-type]
    worker = ground.start_worker(**ground.at(CrashPoint.RUNNER_STARTED, signal="STOP"))
    jobs = [ground.classify()]
    ground.wait_until_reached()
    wait_until(lambda: listeners(ground) == 1, 30, saying="the worker to listen")
    # When the server is stopped
    private_rabbitmq.stop_and_wait()
    worker.runner().resume()
    jobs.append(ground.classify())
    assert nudge(ground.settings, device_kind="any") is False
    assert "does not answer" in doctor_says(ground)
    # Then work goes on without it, and the worker listens again once it is back, also when it lost its queues
    assert ground.wait_for_end(*jobs) == ["succeeded"] * 2
    private_rabbitmq.start()
    wait_until(lambda: listeners(ground) == 1, 60, every=0.2, saying="the worker to listen again")
    with broker_connection(ground.settings, timeout_seconds=2.0) as connection:
        for kind in ("any", "cpu"):
            queue(kind)(connection.channel()).delete()
    assert nudge(ground.settings, device_kind="any")
    jobs.append(ground.classify())
    assert ground.wait_for_end(*jobs) == ["succeeded"] * 3
    check_invariants(ground, *jobs, digest=stock.digest)
    assert worker.drain() == 0
    assert PASSWORD not in worker.log.read_text()
