"""Brokers of a test's own that may be killed and emptied, and a look at what waits in them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kombu import Connection

from postq.broker import broker_connection
from postq.nudges import queue
from postq.settings import load_settings
from tests.certificates import make_certificates
from tests.faults.servers import PrivateRabbitMQ, PrivateRedis, running

PASSWORD = "hunter2hunter2"
KINDS = ("any", "cpu")
"""Whose queues a worker on a CPU listens to."""

PrivateBroker = PrivateRedis | PrivateRabbitMQ


@contextmanager
def started_redis(folder: Path) -> Iterator[PrivateRedis]:
    """A Redis without persistence."""
    server = PrivateRedis(folder)
    with running(server):
        yield server


@contextmanager
def started_rabbitmq() -> Iterator[PrivateRabbitMQ]:
    """A RabbitMQ node that speaks TLS only."""
    with tempfile.TemporaryDirectory(prefix="postq-rabbitmq-") as folder:
        make_certificates(Path(folder))
        server = PrivateRabbitMQ(Path(folder), password=PASSWORD)
        with running(server):
            yield server


@contextmanager
def opened(url: str) -> Iterator[Connection]:
    """A connection to the broker."""
    with broker_connection(load_settings(broker_url=url), timeout_seconds=5.0) as connection:
        yield connection


def waiting(url: str) -> int:
    """How many nudges of kind `any` wait in the broker."""
    with opened(url) as connection:
        return int(queue("any")(connection.channel()).queue_declare(passive=True).message_count)


def listeners(url: str) -> int:
    """How many workers RabbitMQ would hand a nudge of kind `any` to."""
    with opened(url) as connection:
        return int(queue("any")(connection.channel()).queue_declare(passive=True).consumer_count)


def delete_queues(url: str) -> None:
    """Delete the queues and every nudge in them, whoever listens."""
    with opened(url) as connection:
        for kind in KINDS:
            queue(kind)(connection.channel()).delete()


def forget(broker: PrivateBroker) -> None:
    """Make the broker lose all it holds: FLUSHALL on Redis, deleted queues on RabbitMQ."""
    if isinstance(broker, PrivateRedis):
        with broker.client() as client:
            client.flushall()
    else:
        delete_queues(broker.url)
