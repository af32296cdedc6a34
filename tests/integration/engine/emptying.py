"""One database for many tests and examples: emptied in milliseconds, numbers starting from 1 again."""

import sqlalchemy as sa
from sqlmodel import SQLModel

from postq.db import Database

_REFERRING = (("job", "after_job_id"), ("shard", "parent_id"))
"""Columns that refer to rows of their own table, cleared before the rows go."""


def empty(database: Database) -> None:
    """Delete every row of every table."""
    with database.transaction() as session:
        for table, column in _REFERRING:
            session.execute(sa.text(f"UPDATE {table} SET {column} = NULL WHERE {column} IS NOT NULL"))
        for one in reversed(SQLModel.metadata.sorted_tables):
            session.execute(sa.delete(one))
        if database.is_sqlite:
            session.execute(sa.text("DELETE FROM sqlite_sequence"))
        else:
            for one in SQLModel.metadata.sorted_tables:
                if one.autoincrement_column is not None:
                    session.execute(sa.text(f"ALTER SEQUENCE {one.name}_id_seq RESTART"))
