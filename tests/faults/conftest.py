"""Grounds stocked with a corpus and a TF-IDF bundle that were made once a run, through the real worker."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from postq.db import Database
from tests import databases
from tests.faults.ground import Ground, opened_ground
from tests.faults.link import Link
from tests.faults.servers import PrivatePostgres, PrivateRedis, running
from tests.faults.stock import Stock, make_stock, put_files, put_rows


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    """Made once a run."""
    return make_stock(tmp_path_factory.mktemp("stock"))


MakeGround = Callable[..., Ground]


@pytest.fixture
def stocked(stock: Stock, tmp_path: Path, isolated_settings: Path) -> Iterator[MakeGround]:
    """`stocked(database, …)`: a ground of this test's own with corpus 1 and bundle 1 on it."""
    put_files(stock, isolated_settings)
    with ExitStack() as stack:

        def make(database: Database, **options: Any) -> Ground:
            put_rows(stock, database)
            url = database.engine.url.render_as_string(hide_password=False)
            place = opened_ground(tmp_path, home=isolated_settings, **{"database_url": url, **options})
            return stack.enter_context(place)

        yield make


@pytest.fixture
def ground(stocked: MakeGround, sqlite_database: Database) -> Ground:
    """On SQLite, embedded broker."""
    return stocked(sqlite_database)


@pytest.fixture
def postgres_ground(stocked: MakeGround, postgres_database: Database) -> Ground:
    """On PostgreSQL: for supervisors that freeze themselves, since on SQLite another of their threads may
    hold the one write lock at that moment."""
    return stocked(postgres_database)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def either_ground(stocked: MakeGround, request: pytest.FixtureRequest) -> Ground:
    """Once on SQLite, once on PostgreSQL; embedded broker."""
    return stocked(request.getfixturevalue(f"{request.param}_database"))


@pytest.fixture
def link() -> Iterator[Callable[[str], Link]]:
    """`link(url)`: a link to that server which can be cut."""
    with ExitStack() as stack:

        def make(url: str) -> Link:
            made = Link.to(url)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def private_postgres(tmp_path: Path) -> Iterator[PrivatePostgres]:
    """A PostgreSQL cluster that may be stopped and frozen; schema laid."""
    with tempfile.TemporaryDirectory(prefix="postq-postgres-") as folder:
        server = PrivatePostgres(Path(folder))
        with running(server):
            databases.lay_schema(server.url, home=tmp_path)
            yield server


@pytest.fixture
def private_redis(tmp_path: Path) -> Iterator[PrivateRedis]:
    """A Redis without persistence that may be killed."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = PrivateRedis(folder)
    with running(server):
        yield server
