"""The borrowed services are real, empty and nobody else's."""

from typing import Any

import psycopg
import pytest
import redis
import sqlalchemy as sa
from kombu import Connection

from postq.db import Database
from postq.migrations import check_schema


@pytest.mark.postgres
def test_the_postgres_database_is_empty_and_writable(postgres_url: str) -> None:
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        connection.execute("CREATE TABLE probe (id int)")
    assert tables == (0,)


@pytest.mark.parametrize("number", [1, 2])
def test_each_test_gets_a_migrated_database_without_rows(database: Database, number: int) -> None:
    check_schema(database)
    with database.transaction() as session:
        assert session.execute(sa.text("SELECT count(*) FROM worker")).scalar_one() == 0
        session.execute(sa.text(f"CREATE TABLE probe_{number} (id INTEGER)"))
    with database.reading() as session:
        tables = sa.inspect(session.connection()).get_table_names()
    assert [name for name in tables if name.startswith("probe")] == [f"probe_{number}"]


@pytest.mark.redis
def test_two_holders_of_redis_never_share_a_number(redis_url: str) -> None:
    from tests.services import free_redis_number

    with free_redis_number() as other:
        redis.Redis.from_url(other).set("key", "value")
        assert other != redis_url
        assert redis.Redis.from_url(redis_url).get("key") is None
    assert redis.Redis.from_url(other).get("key") is None


@pytest.mark.rabbitmq
def test_a_message_goes_through_rabbitmq(rabbitmq_url: str) -> None:
    with Connection(rabbitmq_url) as connection, connection.SimpleQueue("postq.cpu") as queue:
        assert queue.qsize() == 0
        queue.put({"nudge": 1}, serializer="json")
        assert queue.get(timeout=10).payload == {"nudge": 1}


def test_waiting_returns_the_first_true_answer(wait_until: Any) -> None:
    answers = iter([0, "", "yes"])
    assert wait_until(lambda: next(answers), 5) == "yes"


def test_waiting_fails_at_its_deadline_and_says_what_it_saw_last(wait_until: Any) -> None:
    with pytest.raises(AssertionError, match=r"the row to appear.*last: 0"):
        wait_until(lambda: 0, 0.05, saying="the row to appear")
