"""Migrated databases for tests: the schema is laid once a run, and copied for each test."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from postq.db import Database, open_database
from postq.migrations import upgrade
from postq.settings import Settings
from tests.services import fresh_postgres_database


def opened(url: str, *, home: Path) -> Database:
    """The database at `url`, as the settings would open it."""
    return open_database(Settings(home=home, database_url=SecretStr(url)))


def lay_schema(url: str, *, home: Path) -> None:
    """Bring the database at `url` up to this code and leave no connection behind."""
    database = opened(url, home=home)
    try:
        upgrade(database)
    finally:
        database.dispose()


@contextmanager
def migrated_postgres_template(home: Path) -> Iterator[str]:
    """Name of a migrated PostgreSQL database to copy others from."""
    with fresh_postgres_database() as url:
        lay_schema(url, home=home)
        yield urlsplit(url).path.lstrip("/")


@contextmanager
def copied_sqlite(template: Path, *, home: Path) -> Iterator[Database]:
    """A copy of the migrated SQLite file, opened."""
    home.mkdir(parents=True, exist_ok=True)
    file = home / "postq.db"
    shutil.copyfile(template, file)
    database = opened(f"sqlite:///{file}", home=home)
    try:
        yield database
    finally:
        database.dispose()


@contextmanager
def copied_postgres(template: str, *, home: Path) -> Iterator[Database]:
    """A copy of the migrated PostgreSQL database, opened."""
    with fresh_postgres_database(template=template) as url:
        database = opened(url, home=home)
        try:
            yield database
        finally:
            database.dispose()
