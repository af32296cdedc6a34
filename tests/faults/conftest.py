"""Grounds stocked with a corpus and a TF-IDF bundle that were made once a run, through the real worker."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from postq.db import Database
from tests import databases
from tests.faults import matrix
from tests.faults.brokers import PrivateBroker, delete_queues, started_rabbitmq, started_redis
from tests.faults.ground import Ground, opened_ground
from tests.faults.link import Link
from tests.faults.matrix import Setting
from tests.faults.servers import PrivatePostgres, PrivateRabbitMQ, running
from tests.faults.stock import Stock, make_stock, put_files, put_rows
from tests.faults.tiny_encoder import TrainedEncoder, train_undisturbed
from tests.once import made_once


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes a setting is staged on every one that applies to it."""
    if "setting" in metafunc.fixturenames:
        metafunc.parametrize("setting", matrix.stageable(metafunc.definition), indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the chosen matrix does not ask for."""
    choice = config.getoption("matrix")
    wanted = [matrix.is_wanted(item, choice) for item in items]
    config.hook.pytest_deselected(items=[item for item, keep in zip(items, wanted, strict=True) if not keep])
    items[:] = [item for item, keep in zip(items, wanted, strict=True) if keep]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Which faults were staged on which settings, and how that went."""
    lines = matrix.table(
        report
        for kind in ("passed", "failed", "error", "skipped")
        for report in terminalreporter.stats.get(kind, [])
    )
    if lines:
        terminalreporter.section("faults by database and broker: passed of staged")
        terminalreporter.write("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def stock(shared_folder: Path) -> Stock:
    """Made once a run."""
    return made_once(shared_folder / "stock", make_stock)


@pytest.fixture(scope="session")
def trained_encoder(shared_folder: Path, stock: Stock) -> TrainedEncoder:
    """A tiny Longformer and how its training ends when nothing happens; made once a run."""
    pytest.importorskip("torch")
    return made_once(shared_folder / "encoder", lambda folder: train_undisturbed(folder, stock))


MakeGround = Callable[..., Ground]
MakeLink = Callable[[str], Link]


@pytest.fixture
def setting(request: pytest.FixtureRequest) -> Setting:
    """The database and the broker of this test."""
    found: Setting = request.param
    return found


@pytest.fixture
def database(setting: Setting, request: pytest.FixtureRequest) -> Database:
    """A migrated, empty database of this test's own."""
    name = "sqlite_database" if setting.database == "sqlite" else "postgres_database"
    found: Database = request.getfixturevalue(name)
    return found


@pytest.fixture
def broker_url(setting: Setting, request: pytest.FixtureRequest) -> str:
    """The broker's URL: a number or virtual host of this test's own on a borrowed server."""
    return "memory://" if setting.broker == "embedded" else request.getfixturevalue(f"{setting.broker}_url")


@pytest.fixture
def stocked(stock: Stock, tmp_path: Path, isolated_settings: Path) -> Iterator[MakeGround]:
    """`stocked(database, …)`: a ground of this test's own with corpus 1 and bundle 1 on it."""
    put_files(stock, isolated_settings)
    with ExitStack() as stack:

        def make(database: Database, **options: Any) -> Ground:
            put_rows(stock, database)
            url = database.engine.url.render_as_string(hide_password=False)
            facts = {"database_url": url, "nudging": True, **options}
            return stack.enter_context(opened_ground(tmp_path, home=isolated_settings, **facts))

        yield make


@pytest.fixture
def ground(database: Database, broker_url: str, stocked: MakeGround) -> Ground:
    """On the database and the broker of the setting, which outlive the workers."""
    return stocked(database, broker_url=broker_url)


@pytest.fixture
def link() -> Iterator[MakeLink]:
    """`link(url)`: a link to that server which can be cut."""
    with ExitStack() as stack:

        def make(url: str) -> Link:
            made = Link.to(url)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture(scope="module")
def rabbitmq_node() -> Iterator[PrivateRabbitMQ]:
    """A RabbitMQ of one file's own; it takes seconds to start."""
    with started_rabbitmq() as server:
        yield server


@pytest.fixture
def private_broker(
    setting: Setting, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[PrivateBroker]:
    """The setting's broker, running and empty, which may be killed and started again."""
    if setting.broker == "rabbitmq":
        node: PrivateRabbitMQ = request.getfixturevalue("rabbitmq_node")
        node.start_unless_running()
        delete_queues(node.url)
        yield node
        return
    folder = tmp_path / "redis"
    folder.mkdir()
    with started_redis(folder) as server:
        yield server


@pytest.fixture
def private_postgres(tmp_path: Path) -> Iterator[PrivatePostgres]:
    """A PostgreSQL cluster that may be stopped and frozen; schema laid."""
    with tempfile.TemporaryDirectory(prefix="postq-postgres-") as folder:
        server = PrivatePostgres(Path(folder))
        with running(server):
            databases.lay_schema(server.url, home=tmp_path)
            yield server
