"""What is wrong with the database, in one sentence and one hint, told from a driver's error."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import (
    DatabaseError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)

from postq.errors import DatabaseUnavailable

ANY_HINT = "Check POSTQ_DATABASE_URL, that the server runs and the disk has room; `postq doctor` tests it."
NO_RIGHT = "42501"
"""PostgreSQL's insufficient_privilege."""
NO_RIGHT_HINT = (
    "Let the login of POSTQ_DATABASE_URL own the database; or grant it CREATE on the schema for "
    "`postq db upgrade`, and all rights on postq's tables and sequences for everything else."
)
SQLITE_HINTS = {
    sqlite3.SQLITE_READONLY: "Every command writes beside the file: run postq as the file's owner, or set "
    "POSTQ_HOME to a folder this user may write.",
    sqlite3.SQLITE_CANTOPEN: "Check that the folder is there and that this user may read and write it.",
    sqlite3.SQLITE_FULL: "Make room on its disk; what was committed is safe.",
    sqlite3.SQLITE_IOERR: "Check that its disk has room and is in order; what was committed is safe.",
    sqlite3.SQLITE_ERROR: "Its tables are not as postq lays them: restore it from a backup, or choose "
    "another with POSTQ_HOME or POSTQ_DATABASE_URL.",
    sqlite3.SQLITE_CORRUPT: "Stop all workers. Restore it from a backup.",
    sqlite3.SQLITE_NOTADB: "Name another file in POSTQ_DATABASE_URL, or restore this one from a backup.",
    sqlite3.SQLITE_BUSY: "Another process is writing to it for long, such as VACUUM: try again after it.",
}
"""By SQLite's primary result code."""
LOGIN_HINT = "Check the user and the password in POSTQ_DATABASE_URL, and that the server lets this user in."
SERVER_HINT = "Check the host and the port in POSTQ_DATABASE_URL, and that the server runs."
CONNECTION_HINTS = (
    ("connection option", "Correct the options behind the ? of POSTQ_DATABASE_URL."),
    ("SSL", "Check sslmode and the certificates that POSTQ_DATABASE_URL names, and what the server offers."),
    ("resolve host", SERVER_HINT),
    ("Connection refused", SERVER_HINT),
    ("timeout", SERVER_HINT),
    ("password", LOGIN_HINT),
    ("pg_hba.conf", LOGIN_HINT),
    ('role "', LOGIN_HINT),
    ("permission denied", NO_RIGHT_HINT),
    ('database "', "Check the name in POSTQ_DATABASE_URL; a new database is made with `createdb NAME`."),
)
"""By words of the message, the first that fit: libpq gives no code for a connection that was not made, and
a server that speaks another language gets the general hint."""


@contextmanager
def told_clearly(url: sa.URL) -> Iterator[None]:
    """Turn what the surroundings do to a database into DatabaseUnavailable; a caller's bug passes."""
    try:
        yield
    except DatabaseError as exc:
        if not _is_of_the_surroundings(exc):
            raise
        raise database_error(exc, url) from exc
    except InterfaceError as exc:
        raise database_error(exc, url) from exc


def database_error(exc: DBAPIError, url: sa.URL) -> DatabaseUnavailable:
    """Say a driver's error in one sentence: with the file's name, without an address and its password."""
    text = str(exc.orig).strip()
    first_line = text.splitlines()[0] if text else type(exc.orig).__name__
    file = f" {url.database}" if url.get_backend_name() == "sqlite" else ""
    return DatabaseUnavailable(
        f"The database{file} cannot be used: {first_line.removesuffix('.')}.", hint=_hint(exc, first_line)
    )


def _is_of_the_surroundings(exc: DatabaseError) -> bool:
    """Subclasses such as a broken constraint are bugs of the caller, unless it is rights that lack."""
    if isinstance(exc, OperationalError | InternalError):
        return not _is_beyond_limits(exc)
    if isinstance(exc, ProgrammingError) and exc.statement is None:
        return True  # an option of the URL, refused before anything was asked
    # The class itself: a file that is no database, or a damaged one.
    return type(exc) is DatabaseError or _sqlstate(exc) == NO_RIGHT


def _is_beyond_limits(exc: DBAPIError) -> bool:
    """Whether PostgreSQL refused what was sent for its size (class 54): waiting for it would never end."""
    return _sqlstate(exc).startswith("54")


def _sqlstate(exc: DBAPIError) -> str:
    return str(getattr(exc.orig, "sqlstate", None) or "")


def _hint(exc: DBAPIError, message: str) -> str:
    if isinstance(exc.orig, sqlite3.Error):
        return SQLITE_HINTS.get(getattr(exc.orig, "sqlite_errorcode", 0) & 0xFF, ANY_HINT)
    if _sqlstate(exc) == NO_RIGHT:
        return NO_RIGHT_HINT
    return next((hint for words, hint in CONNECTION_HINTS if words in message), ANY_HINT)
