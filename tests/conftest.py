"""Fixtures every test may use: isolation from the laptop, real corpora, databases and brokers."""

import os

# Read by libraries when they are first imported, so they are set before any test module loads one.
os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")
if not os.path.exists("/dev/nvidia0"):  # noqa: PTH110
    os.environ["TRITON_INTERPRET"] = "1"  # the kernels for GPUs run here all the same, only slowly
os.environ.pop("PYTHONUNBUFFERED", None)  # users have streams that are buffered
os.environ.pop("COLUMNS", None)  # how wide the window of whoever runs the tests is, is not what they test
for _name in [name for name in os.environ if name.startswith("POSTQ_") and "_TEST_" not in name]:
    del os.environ[_name]

import logging  # noqa: E402
import signal  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402
import structlog  # noqa: E402

from postq.db import Database  # noqa: E402
from tests import databases, once, services, waiting  # noqa: E402
from tests.faults import matrix  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]

# A shell that starts the tests in the background has SIGINT ignored, and every process they start would too.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--matrix`: on which databases and brokers the faults are staged."""
    parser.addoption("--matrix", choices=matrix.CHOICES, default="usual", help=matrix.__doc__)


@pytest.fixture(autouse=True)
def isolated_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of this test's own and no settings file, for it and for every process it starts."""
    home = tmp_path / "home"
    monkeypatch.setenv("POSTQ_HOME", str(home))
    monkeypatch.setenv("POSTQ_CONFIG", os.devnull)
    return home


@pytest.fixture(autouse=True)
def logging_as_imported() -> Iterator[None]:
    """Undo what a test (or a command it ran in this process) set up for logging."""
    yield
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(handler)
    root.setLevel(logging.WARNING)
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def umask_as_found() -> Iterator[None]:
    """Undo the umask of a command that ran in this process: database servers run as users of their own."""
    found = os.umask(0o022)
    os.umask(found)
    yield
    os.umask(found)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run have in common."""
    return once.folder_of_the_run(request.config, tmp_path_factory)


@pytest.fixture(scope="session")
def real_corpora() -> Path:
    """The folder of the labelled corpora beside the checkout; skips on a laptop, fails under CI."""
    folder = Path(os.environ.get("POSTQ_TEST_CORPORA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        services.missing("The folder of labelled corpora", f"POSTQ_TEST_CORPORA or {folder}")
    return folder


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """SQLAlchemy URL of an empty PostgreSQL database of this test's own."""
    with services.fresh_postgres_database() as url:
        yield url


@pytest.fixture
def redis_url() -> Iterator[str]:
    """URL of an empty Redis database that only this test uses."""
    with services.free_redis_number() as url:
        yield url


@pytest.fixture
def rabbitmq_url() -> Iterator[str]:
    """URL of a RabbitMQ virtual host that only this test uses."""
    with services.fresh_rabbitmq_host() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database: once a SQLite file, once PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'postq.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    file = tmp_path_factory.mktemp("migrated") / "postq.db"
    databases.lay_schema(f"sqlite:///{file}", home=file.parent)
    return file


@pytest.fixture(scope="session")
def migrated_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Name of a migrated PostgreSQL database, to be copied."""
    with databases.migrated_postgres_template(tmp_path_factory.mktemp("migrated")) as name:
        yield name


@pytest.fixture
def sqlite_database(migrated_sqlite: Path, isolated_settings: Path) -> Iterator[Database]:
    """A migrated, empty SQLite database at the place where the embedded one lies."""
    with databases.copied_sqlite(migrated_sqlite, home=isolated_settings) as database:
        yield database


@pytest.fixture
def postgres_database(migrated_postgres: str, isolated_settings: Path) -> Iterator[Database]:
    """A migrated, empty PostgreSQL database."""
    with databases.copied_postgres(migrated_postgres, home=isolated_settings) as database:
        yield database


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest) -> Database:
    """A migrated, empty database: once SQLite, once PostgreSQL."""
    found: Database = request.getfixturevalue(f"{request.param}_database")
    return found


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    """`wait_until(condition, timeout)`: the first true answer, or a failure at the deadline."""
    return waiting.wait_until
