"""Servers the tests borrow: a fresh database, number or virtual host of each, so that no two tests meet."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit, urlunsplit

import pytest

POSTGRES = "postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
REDIS = "redis://127.0.0.1:6379"
RABBITMQ = "amqp://guest:guest@127.0.0.1:5672//"
REDIS_LOCK = "postq-test-lock"
LOCK_SECONDS = 900


def address(variable: str, default: str) -> str:
    """Where the service is: `variable` of the environment, or the usual port of this machine."""
    return os.environ.get(variable, default)


def missing(service: str, reason: object) -> NoReturn:
    """Skip on a laptop, fail where CI promises that the service is there."""
    text = f"{service} does not answer ({reason}); CONTRIBUTING.md says how to start one"
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def unique_name() -> str:
    """A name no other test, run or person uses."""
    return f"postq_test_{uuid.uuid4().hex[:12]}"


@contextmanager
def fresh_postgres_database(*, template: str | None = None) -> Iterator[str]:
    """URL of a new, empty database (or a copy of `template`), dropped afterwards with all its connections."""
    import psycopg

    server = address("POSTQ_TEST_POSTGRES", POSTGRES)
    name = unique_name()
    try:
        admin = psycopg.connect(
            server.replace("postgresql+psycopg://", "postgresql://"), autocommit=True, connect_timeout=5
        )
    except psycopg.OperationalError as exc:
        missing("PostgreSQL", exc)
    with admin:
        admin.execute(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
        try:
            yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        finally:
            admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def free_redis_number() -> Iterator[str]:
    """URL of a Redis database that nobody else holds, empty before and after."""
    import redis

    server = address("POSTQ_TEST_REDIS", REDIS)
    for number in range(1, 16):
        url = urlunsplit(urlsplit(server)._replace(path=f"/{number}"))
        client = redis.Redis.from_url(url, socket_connect_timeout=5)
        try:
            won = client.set(REDIS_LOCK, "held", nx=True, ex=LOCK_SECONDS)
        except redis.RedisError as exc:
            client.close()
            missing("Redis", exc)
        if won:
            break
        client.close()
    else:
        pytest.fail("all fifteen Redis database numbers are held by other tests", pytrace=False)
    try:
        _empty(client)
        yield url
    finally:
        client.flushdb()
        client.close()


def _empty(client: Any) -> None:
    """Delete every key but the lock."""
    for key in client.scan_iter():
        if key != REDIS_LOCK.encode():
            client.delete(key)


@contextmanager
def fresh_rabbitmq_host() -> Iterator[str]:
    """URL of a new virtual host; without the right to make one, the default host emptied of our queues."""
    server = address("POSTQ_TEST_RABBITMQ", RABBITMQ)
    _check_rabbitmq(server)
    name = unique_name()
    if not _rabbitmqctl("add_vhost", name):
        with _emptied_queues(server):
            yield server
        return
    try:
        user = urlsplit(server).username or "guest"
        assert _rabbitmqctl("set_permissions", "-p", name, user, ".*", ".*", ".*")
        yield urlunsplit(urlsplit(server)._replace(path="/" + quote(name, safe="")))
    finally:
        _rabbitmqctl("delete_vhost", name)


def _check_rabbitmq(server: str) -> None:
    from kombu import Connection

    with Connection(server, connect_timeout=5) as connection:
        try:
            connection.ensure_connection(max_retries=1, timeout=5)
        except connection.connection_errors as exc:
            missing("RabbitMQ", exc)


def _rabbitmqctl(*arguments: str) -> bool:
    """Run one command of the RabbitMQ on this machine; False when there is none or it refuses."""
    program = shutil.which("rabbitmqctl", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    elsewhere = "POSTQ_TEST_RABBITMQ" in os.environ and "RABBITMQ_NODENAME" not in os.environ
    if program is None or elsewhere:  # a server given by address need not be the one rabbitmqctl talks to
        return False
    done = subprocess.run([program, "-q", *arguments], capture_output=True, timeout=60, check=False)
    return done.returncode == 0


@contextmanager
def _emptied_queues(server: str) -> Iterator[None]:
    """Delete the queues of postq's device kinds before and after."""
    from kombu import Connection

    def empty() -> None:
        with Connection(server) as connection:
            for queue in ("postq.cpu", "postq.cuda", "postq.mps"):
                with connection.channel() as channel, suppress(*connection.channel_errors):
                    channel.queue_delete(queue)

    empty()
    try:
        yield
    finally:
        empty()
