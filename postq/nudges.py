"""Publishing a nudge: a lossy hint over the broker that a ready shard may wait in the database."""

import os
import socket
import uuid
from typing import Any

import structlog
from kombu.entity import Exchange, Queue
from kombu.messaging import Producer

from postq.broker import broker_connection
from postq.contracts.device import DeviceKind
from postq.logs import mask_secrets
from postq.settings import Settings

TASK_NAME = "postq.nudge"
EXCHANGE = Exchange("postq", type="direct", durable=True)
MAX_NUDGES = 32
"""Most nudges of one call: each wakes a worker, and a woken worker claims until nothing is left."""
EXPIRES_SECONDS = 60
"""RabbitMQ drops a nudge nobody took in this time; by then workers have polled the database anyway."""
TIMEOUT_SECONDS = 1.0
"""For connecting and for each answer: a submit never waits longer for a broker that is down."""
_ANY = "any"

_log = structlog.get_logger()


def queue_name(kind: str) -> str:
    """The queue of one device kind, or of `any`."""
    return f"postq.{kind}"


def queue(kind: str) -> Queue:
    """The declaration of a queue; publisher and worker must use the same one."""
    name = queue_name(kind)
    return Queue(name, EXCHANGE, routing_key=name, durable=True)


def worker_queues(kind: DeviceKind) -> tuple[Queue, ...]:
    """The queues a worker on a device of this kind listens to."""
    return queue(_ANY), queue(kind)


def nudge(settings: Settings, *, device_kind: str, count: int = 1) -> bool:
    """Publish up to `count` nudges for workers of `device_kind` (`any`, `cpu`, `cuda` or `mps`).

    Says whether the broker took them; never raises and never waits long, since nothing depends on a
    nudge: workers find the same rows by polling. With the embedded broker there is nothing to send to.
    """
    if settings.embedded_broker:
        return True
    try:
        _publish(settings, device_kind=device_kind, count=count)
    except Exception as exc:  # drivers raise their own families of errors; a hint may fail in any way
        _log.warning("The nudge was not sent; workers will find the work by polling.", reason=_reason(exc))
        return False
    return True


def _publish(settings: Settings, *, device_kind: str, count: int) -> None:
    waits = _waits(settings.broker_url.get_secret_value())
    with broker_connection(settings, timeout_seconds=TIMEOUT_SECONDS, **waits) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=TIMEOUT_SECONDS)
        producer = Producer(connection.channel())
        for _ in range(min(max(count, 1), MAX_NUDGES)):
            _publish_one(producer, queue(device_kind))


def _publish_one(producer: Producer, target: Queue) -> None:
    identity = str(uuid.uuid4())
    producer.publish(
        _BODY,
        exchange=EXCHANGE,
        routing_key=target.routing_key,
        declare=[target],
        serializer="json",
        headers=_headers(identity),
        correlation_id=identity,
        delivery_mode=1,
        expiration=EXPIRES_SECONDS,
        retry=False,
    )


_BODY: list[Any] = [[], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
"""Celery's protocol 2: positional arguments, keyword arguments, and what to do next."""


def _headers(identity: str) -> dict[str, Any]:
    return {
        "lang": "py",
        "task": TASK_NAME,
        "id": identity,
        "root_id": identity,
        "parent_id": None,
        "group": None,
        "retries": 0,
        "eta": None,
        "expires": None,
        "timelimit": [None, None],
        "argsrepr": "()",
        "kwargsrepr": "{}",
        "origin": f"{os.getpid()}@{socket.gethostname()}",
        "ignore_result": True,
    }


def _waits(url: str) -> dict[str, float]:
    if url.startswith("redis"):
        return {"socket_timeout": TIMEOUT_SECONDS, "socket_connect_timeout": TIMEOUT_SECONDS}
    return {"read_timeout": TIMEOUT_SECONDS, "write_timeout": TIMEOUT_SECONDS}


def _reason(exc: Exception) -> str:
    return mask_secrets(f"{type(exc).__name__}: {exc}")
