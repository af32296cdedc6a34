"""Connections, transactions, column types and the database's clock, for SQLite and PostgreSQL."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from importlib import import_module
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeDecorator
from sqlmodel import SQLModel

from postq.database_errors import told_clearly
from postq.errors import DatabaseUnavailable, ExtraMissing
from postq.settings import Settings

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

DRIVERS = {"sqlite", "sqlite+pysqlite", "postgres", "postgresql", "postgresql+psycopg"}
URL_HINT = (
    "Use sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME in POSTQ_DATABASE_URL; in a password "
    "@ is written %40, : %3A and / %2F."
)
SQLITE_BUSY_SECONDS = 30
WAL_RETRY_SECONDS = 0.02
POSTGRES_CONNECT_SECONDS = 5
POSTGRES_STOPPED_CLIENT_SECONDS = 60
"""A client frozen inside a transaction loses it, and its row locks, after this long."""
ONE_STATE = "REPEATABLE READ"
"""Isolation of readers. With PostgreSQL's default each statement sees what was committed before it, so that
the rows and the history of a job at work would contradict each other."""
UNREMOVED = {"read": True, "key_share": True}
"""`with_for_update` for a row about to be named by another: it may be changed meanwhile, but not removed.
Without it the other row would be refused for its foreign key. SQLite has one writer at a time anyway."""
POSTGRES_SERVER_OPTIONS = (
    f"idle_in_transaction_session_timeout={POSTGRES_STOPPED_CLIENT_SECONDS}s",
    "tcp_keepalives_idle=10",
    "tcp_keepalives_interval=5",
    "tcp_keepalives_count=3",
    "tcp_user_timeout=20s",
)
"""What the server does about us: a machine that vanished in the middle of a statement, such as a COPY, would
keep its locks for two hours by the system's own keepalive."""
POSTGRES_KEEPALIVES = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC times; SQLite drops offsets, so they are stored naive there and made aware again."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times: they are a bug in the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise TypeError("a time without a zone was about to be stored")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give back aware UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def enum_type(members: type[Enum]) -> sa.Enum:
    """A portable column for an enum, storing its *values* (SQLAlchemy stores names by default)."""
    return sa.Enum(
        members,
        native_enum=False,
        create_constraint=False,
        length=40,
        values_callable=lambda cls: [member.value for member in cls],
    )


BigKey = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A 64-bit key that SQLite can auto-increment."""
NUMBERED_ONCE = {"sqlite_autoincrement": True}
"""For tables whose rows go and are known by number, to people or in folders' names: when the newest row goes,
SQLite would number the next one the same. Not for events, which nobody calls by number: it costs them 5 %."""


class Database:
    """The one gateway to the SQL database; cheap to make, safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writer = engine.execution_options(postq_begin="IMMEDIATE")
        # SQLite's readers see one state anyway.
        self._reader = engine if self.is_sqlite else engine.execution_options(isolation_level=ONE_STATE)

    @property
    def is_sqlite(self) -> bool:
        """True on the embedded database."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """One write transaction: committed on leaving, rolled back on any exception."""
        with (
            told_clearly(self.engine.url),
            Session(self._writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One read-only look at a consistent state: what others commit meanwhile is not seen."""
        with told_clearly(self.engine.url), Session(self._reader, expire_on_commit=False) as session:
            yield session

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def open_database(settings: Settings) -> Database:
    """Open the database the settings name, without touching it yet.

    Raises DatabaseUnavailable for a URL that cannot be parsed, ExtraMissing without the driver.
    """
    url_text = settings.resolved_database_url.get_secret_value()
    try:
        url = sa.make_url(url_text)
        if url.get_backend_name() == "sqlite":
            settings.home.mkdir(parents=True, exist_ok=True, mode=0o750)
        if url.drivername not in DRIVERS:
            raise DatabaseUnavailable(
                f"postq does not work with a database URL that begins with {url.drivername}.", hint=URL_HINT
            )
        if "@" in (url.host or ""):  # the rest of a password, which a driver would print as part of the host
            raise DatabaseUnavailable("The database URL holds more than one @.", hint=URL_HINT)
        return Database(_make_engine(url))
    except (ArgumentError, ValueError) as exc:
        raise DatabaseUnavailable(
            "The database URL is not one SQLAlchemy understands.", hint=URL_HINT
        ) from exc
    except ModuleNotFoundError as exc:
        raise ExtraMissing(
            f"The database driver '{exc.name}' is not installed.",
            hint="Install it with: pip install 'postq[postgres]'.",
        ) from exc
    except OSError as exc:
        raise DatabaseUnavailable(
            f"The database's folder cannot be made: {exc}.",
            hint="Set POSTQ_HOME to a folder this user may write.",
        ) from exc


def _make_engine(url: sa.URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url)
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    return sa.create_engine(
        url,
        pool_pre_ping=True,
        pool_size=5,
        connect_args={
            "connect_timeout": POSTGRES_CONNECT_SECONDS,
            "options": " ".join(f"-c {option}" for option in POSTGRES_SERVER_OPTIONS),
            **POSTGRES_KEEPALIVES,
        },
    )


def _sqlite_engine(url: sa.URL) -> Engine:
    engine = sa.create_engine(url, connect_args={"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False})

    @sa.event.listens_for(engine, "connect")
    def _configure(raw: Any, record: Any) -> None:
        del record
        raw.isolation_level = None  # SQLAlchemy's `begin` event below decides how to begin
        _use_wal(raw)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            raw.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        mode = connection.get_execution_options().get("postq_begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def _use_wal(raw: Any) -> None:
    """Switch a new file to the write-ahead log, waiting for whoever is switching it at this moment.

    SQLite answers "database is locked" here at once, whatever the busy timeout: two commands that were the
    first ones on an empty home would race.
    """
    deadline = time.monotonic() + SQLITE_BUSY_SECONDS
    while True:
        try:
            raw.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(WAL_RETRY_SECONDS)


def database_now(session: Session) -> datetime:
    """The database's clock, aware UTC: the one time all workers agree on."""
    if session.get_bind().dialect.name == "sqlite":
        text = session.execute(sa.text("SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')")).scalar_one()
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    moment: datetime = session.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    return moment.astimezone(UTC)


def insert_if_absent(session: Session, table: sa.Table, row: dict[str, Any]) -> Any:
    """Insert `row` and return its first key; None when a unique constraint says it is there already.

    Of any number of concurrent callers with the same unique value exactly one gets a key; on PostgreSQL the
    others wait for its transaction to end before they are told.
    """
    dialect = session.get_bind().dialect.name
    # Only the dialect in use is loaded: the other one would be a tenth of the command line's start.
    insert = import_module(f"sqlalchemy.dialects.{dialect}").insert
    key = next(iter(table.primary_key.columns))
    statement = insert(table).values(row).on_conflict_do_nothing().returning(key)
    return session.execute(statement).scalar_one_or_none()


LONGEST_MESSAGE = 4000
"""Characters of an error message that are kept."""


def storable(text: str) -> str:
    """`text` as every database keeps it: without NUL and lone surrogates, and not endlessly long."""
    return text[:LONGEST_MESSAGE].replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
