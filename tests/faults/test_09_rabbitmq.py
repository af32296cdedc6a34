"""Fault 9: a RabbitMQ of its own, over TLS with a password, is stopped, started again, and emptied."""

import subprocess
import sys

import pytest

from postq.crash_points import CrashPoint
from postq.nudges import nudge
from postq.settings import load_settings
from tests.faults.accounting import check_invariants
from tests.faults.brokers import PASSWORD, delete_queues, listeners
from tests.faults.conftest import MakeGround
from tests.faults.ground import Ground
from tests.faults.servers import PrivateRabbitMQ
from tests.faults.stock import Stock
from tests.waiting import wait_until


def doctor_says(ground: Ground) -> str:
    command = [sys.executable, "-m", "postq", "doctor"]
    done = subprocess.run(
        command, env=ground.environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert PASSWORD not in done.stdout + done.stderr
    return " ".join(done.stdout.split())


@pytest.mark.rabbitmq
def test_only_a_server_that_proves_itself_is_given_the_password(
    rabbitmq_node: PrivateRabbitMQ, capsys: pytest.CaptureFixture[str]
) -> None:
    other = rabbitmq_node.url.replace("server.crt", "other.crt")
    by_name = rabbitmq_node.url.replace("127.0.0.1", "127.0.0.2")
    assert nudge(load_settings(broker_url=rabbitmq_node.url), device_kind="cpu")
    for url in (rabbitmq_node.base_url, other, by_name):
        assert not nudge(load_settings(broker_url=url), device_kind="cpu")
    unchecked = load_settings(broker_url=f"{rabbitmq_node.base_url}?ssl_cert_reqs=none")
    assert nudge(unchecked, device_kind="cpu")
    assert "hunter2" not in "".join(capsys.readouterr())


@pytest.mark.fault(9)
@pytest.mark.usual("sqlite-rabbitmq")
@pytest.mark.never(
    embedded="there is no broker to stop", redis="it has no orderly end that differs: it is killed in fault 6"
)
def test_a_server_stopped_and_started_and_its_queues_deleted_hold_up_nothing(
    stocked: MakeGround, database: object, private_broker: PrivateRabbitMQ, stock: Stock
) -> None:
    # Given a listening worker with a shard at work
    ground = stocked(database, broker_url=private_broker.url)  # type: ignore[arg-type]
    worker = ground.start_worker(**ground.at(CrashPoint.RUNNER_STARTED, signal="STOP"))
    jobs = [ground.classify()]
    ground.wait_until_reached()
    wait_until(lambda: listeners(private_broker.url) == 1, 30, saying="the worker to listen")
    # When the server is stopped
    private_broker.stop_and_wait()
    worker.wake_runner()
    jobs.append(ground.classify())
    assert nudge(ground.settings, device_kind="any") is False
    assert "does not answer" in doctor_says(ground)
    # Then work goes on without it, and the worker listens again once it is back, also when it lost its queues
    assert ground.wait_for_end(*jobs) == ["succeeded"] * 2
    private_broker.start()
    wait_until(lambda: listeners(private_broker.url) == 1, 60, every=0.2, saying="the worker to listen again")
    delete_queues(private_broker.url)
    assert nudge(ground.settings, device_kind="any")
    jobs.append(ground.classify())
    assert ground.wait_for_end(*jobs) == ["succeeded"] * 3
    check_invariants(ground, *jobs, digest=stock.digest)
    assert worker.drain() == 0
    assert PASSWORD not in worker.log.read_text()
