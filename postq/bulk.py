"""Inserting plain rows the fastest way a database has: COPY on PostgreSQL, executemany on SQLite."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session


def insert_many(
    session: Session, table: sa.Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Insert plain tuples the fastest way the database has, inside the session's transaction."""
    raw = session.connection().connection.driver_connection
    if raw is None:
        raise RuntimeError("the session has no open connection")
    first = next(iterator := iter(rows), None)
    if first is None:
        return
    driver = session.get_bind().dialect.loaded_dbapi
    send = _executemany if session.get_bind().dialect.name == "sqlite" else _copy
    try:
        send(raw, table.name, columns, chain([first], iterator))
    except driver.Error as exc:  # as SQLAlchemy tells it, so that callers see one family of errors
        raise DBAPIError.instance(f"bulk insert into {table.name}", None, exc, driver.Error) from exc


def _executemany(raw: Any, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    marks = ", ".join("?" for _ in columns)
    raw.executemany(f'INSERT INTO "{table}" ({_quoted(columns)}) VALUES ({marks})', rows)  # noqa: S608


def _copy(raw: Any, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with raw.cursor() as cursor, cursor.copy(f'COPY "{table}" ({_quoted(columns)}) FROM STDIN') as copy:
        for row in rows:
            copy.write_row(row)


def _quoted(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)
