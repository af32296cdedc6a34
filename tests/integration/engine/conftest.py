"""The engine's world on a migrated, empty database: every test here runs on SQLite and on PostgreSQL."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from postq.db import Database
from postq.settings import Settings
from tests import databases
from tests.integration.engine.crossing import Crossed
from tests.integration.engine.emptying import empty
from tests.integration.engine.world import World


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def shared_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    """One migrated database for all tests of the engine."""
    home = tmp_path_factory.mktemp("engine")
    template = request.getfixturevalue(f"migrated_{request.param}")
    copied = databases.copied_sqlite if request.param == "sqlite" else databases.copied_postgres
    with copied(template, home=home) as database:
        yield database


@pytest.fixture
def database(shared_database: Database) -> Database:
    """The shared database, emptied."""
    empty(shared_database)
    return shared_database


@pytest.fixture
def world(database: Database, isolated_settings: Path) -> World:
    """Small shards and short budgets, so that every edge is reached with few documents."""
    return World(database, small_settings(database, isolated_settings))


@pytest.fixture
def crossed(world: World, wait_until: Callable[..., Any]) -> Crossed:
    """Runs two transactions crossing each other."""
    return Crossed(world, wait_until)


def small_settings(database: Database, home: Path) -> Settings:
    """Four documents a shard, two retries, two crashes."""
    return Settings(
        home=home,
        database_url=SecretStr(database.engine.url.render_as_string(hide_password=False)),
        shard_documents=4,
        retry_budget=2,
        crash_budget=2,
        backoff_seconds=2.0,
    )
