"""The engine's world on a migrated, empty database: every test here runs on SQLite and on PostgreSQL."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from postq.db import Database
from postq.settings import Settings
from tests.integration.engine.world import World


@pytest.fixture
def world(database: Database, isolated_settings: Path) -> World:
    """Small shards and short budgets, so that every edge is reached with few documents."""
    url = database.engine.url.render_as_string(hide_password=False)
    settings = Settings(
        home=isolated_settings,
        database_url=SecretStr(url),
        shard_documents=4,
        retry_budget=2,
        crash_budget=2,
        backoff_seconds=2.0,
    )
    return World(database, settings)
