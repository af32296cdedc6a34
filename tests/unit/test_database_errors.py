"""Each way a database fails is told with what to do about that one."""

import sqlite3

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from postq.database_errors import database_error, told_clearly
from postq.errors import DatabaseUnavailable

SERVER = sa.make_url("postgresql+psycopg://someone:hunter2@host/postq")
FILE = sa.make_url("sqlite:////home/postq.db")
CONNECTION = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ('FATAL:  password authentication failed for user "someone"', "user and the password"),
        ('FATAL:  role "someone" does not exist', "user and the password"),
        ('FATAL:  database "postq" does not exist', "createdb"),
        ('FATAL:  permission denied for database "postq"', "own the database"),
        ("Connection refused", "host and the port"),
        ("server does not support SSL, but SSL was required", "sslmode"),
        ("FATAL:  the database system is starting up", "that the server runs"),
    ],
)
def test_a_connection_that_fails_is_told_with_its_own_hint(message: str, hint: str) -> None:
    told = database_error(OperationalError("", {}, psycopg.OperationalError(CONNECTION + message)), SERVER)
    assert message in told.message
    assert hint in told.hint
    assert "hunter2" not in told.message + told.hint


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (sqlite3.SQLITE_READONLY, "file's owner"),
        (sqlite3.SQLITE_IOERR | 3 << 8, "disk has room"),
        (sqlite3.SQLITE_FULL, "Make room"),
        (sqlite3.SQLITE_CANTOPEN, "folder is there"),
        (sqlite3.SQLITE_ERROR, "restore it from a backup"),
        (sqlite3.SQLITE_CORRUPT, "Restore it from a backup"),
        (sqlite3.SQLITE_NOTADB, "another file"),
        (sqlite3.SQLITE_BUSY, "Another process is writing"),
    ],
)
def test_a_file_that_fails_is_named_with_its_own_hint(code: int, hint: str) -> None:
    reason = sqlite3.OperationalError("it does not work")
    reason.sqlite_errorcode = code
    told = database_error(OperationalError("", {}, reason), FILE)
    assert told.message == "The database /home/postq.db cannot be used: it does not work."
    assert hint in told.hint


def test_a_right_that_lacks_is_the_surroundings_fault() -> None:
    refusal = psycopg.errors.InsufficientPrivilege("permission denied for table job")
    with pytest.raises(DatabaseUnavailable, match="permission denied for table job"), told_clearly(SERVER):
        raise ProgrammingError("", {}, refusal)


@pytest.mark.parametrize(
    "fault",
    [
        ProgrammingError("", {}, psycopg.errors.UndefinedColumn("no column x")),
        IntegrityError("", {}, psycopg.errors.UniqueViolation("twice")),
        OperationalError("", {}, psycopg.errors.ProgramLimitExceeded("too large")),
    ],
)
def test_a_fault_of_the_caller_is_not_taken_for_the_databases(fault: Exception) -> None:
    with pytest.raises(type(fault)), told_clearly(SERVER):
        raise fault
