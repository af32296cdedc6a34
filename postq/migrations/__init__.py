"""The schema's history: which version a database has, whether it fits this code, moving it up and down."""

import re
import secrets
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from postq.db import Database
from postq.errors import SchemaMismatch

if TYPE_CHECKING:
    from alembic.config import Config

LOCK_SECONDS = 120
"""How long a process waits while another one upgrades the embedded database."""
_NUMBER = re.compile(r"[0-9]{4}")
"""What every version of postq calls its revisions."""
_FOLDER = Path(__file__).parent
_POSTGRES_LOCK = 7_210_117_345
"""Key of the advisory lock that keeps two upgrades of one server apart."""


@cache
def revisions() -> tuple[str, ...]:
    """All revisions this code knows, oldest first; each is the number that opens its file's name.

    Read from the file names, so that a start of the CLI need not load Alembic.
    """
    return tuple(sorted(path.name[1:5] for path in (_FOLDER / "versions").glob("v[0-9][0-9][0-9][0-9]_*.py")))


def head_revision() -> str:
    """The revision this code was written for."""
    return revisions()[-1]


def current_revision(database: Database) -> str | None:
    """The revision the database is at, or None when postq's tables are not there.

    Another application that keeps its revisions in the same way may have several. Raises DatabaseUnavailable.
    """
    with database.reading() as session:
        if not sa.inspect(session.connection()).has_table("alembic_version"):
            return None
        found = session.scalars(sa.text("SELECT version_num FROM alembic_version")).all()
    return ", ".join(sorted(found)) or None


def check_schema(database: Database) -> None:
    """Raise SchemaMismatch unless the database has exactly the schema this code was written for."""
    _check(current_revision(database))


def ensure_schema(database: Database) -> None:
    """Make the database fit: the embedded one is laid or upgraded here, a server's is only checked.

    Many processes may start at once: one upgrades under a lock beside the file, the others wait.
    Raises SchemaMismatch for a newer or unknown schema, or on a server for an older or missing one.
    """
    current = current_revision(database)
    if current == head_revision():
        return
    if database.is_sqlite and _older(current):
        upgrade(database)
        return
    _check(current)


def upgrade(database: Database) -> None:
    """Bring the schema up to this code, in one transaction; does nothing when it is there already.

    Raises SchemaMismatch when the database is newer than this code, or not postq's.
    """
    with _sqlite_lock(database):
        current = current_revision(database)
        if not _older(current):
            _check(current)
            return
        _run(database, target=head_revision(), down=False)


def downgrade(database: Database, revision: str) -> None:
    """Take the schema back to `revision` (`base` empties the database of postq's tables)."""
    with _sqlite_lock(database):
        _run(database, target=revision, down=True)


def _older(current: str | None) -> bool:
    return current is None or current in revisions()[:-1]


def _check(current: str | None) -> None:
    head = head_revision()
    if current == head:
        return
    if current is None:
        raise SchemaMismatch("The database has no postq tables yet.", hint="Run: postq db upgrade.")
    if _older(current):
        raise SchemaMismatch(
            f"The database schema is at {current}, older than this postq, which needs {head}.",
            hint="Stop the workers of the older version, then run: postq db upgrade.",
        )
    if not _NUMBER.fullmatch(current) or current < head:
        raise SchemaMismatch(
            f"The database schema is at {current}, which no version of postq is known to have.",
            hint="Give postq a database of its own: another application's tables may be in this one.",
        )
    raise SchemaMismatch(
        f"The database schema is at {current}, newer than this postq, which knows {head}.",
        hint="Upgrade postq on this machine to the version that upgraded the database.",
    )


def _sqlite_lock(database: Database) -> "filelock.BaseFileLock | nullcontext[None]":
    file = database.engine.url.database
    if not database.is_sqlite or not file:
        return nullcontext()
    return filelock.FileLock(f"{file}.upgrade-lock", timeout=LOCK_SECONDS)


def _run(database: Database, *, target: str, down: bool) -> None:
    from alembic import command

    config = _config()
    try:
        with database.transaction() as session:
            connection = session.connection()
            if not database.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_POSTGRES_LOCK)))
            elif not down:
                _number_new_file(connection)
            config.attributes["connection"] = connection
            (command.downgrade if down else command.upgrade)(config, target)
    except DBAPIError as exc:
        raise SchemaMismatch(
            f"The database could not be moved to schema {target}: {str(exc.orig).splitlines()[0]}.",
            hint="Check that the database holds nothing but postq's tables.",
        ) from exc


def _number_new_file(connection: sa.Connection) -> None:
    """A number of its own for an empty file, so that it is told from one that lay in its place before.

    SQLite keeps it in the file's header; `database_tag.py` reads it.
    """
    if not sa.inspect(connection).has_table("alembic_version"):
        connection.exec_driver_sql(f"PRAGMA application_id = {secrets.randbelow(2**31 - 1) + 1}")


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config
