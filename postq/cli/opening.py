"""Opening the database for a command: the embedded one is laid on first use, a server's is only checked."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postq.db import Database
    from postq.settings import Settings


def open_checked(settings: "Settings") -> "Database":
    """The database of the settings, in the schema this code was written for.

    Raises DatabaseUnavailable, ExtraMissing or SchemaMismatch, each with what to do.
    """
    from postq.db import open_database
    from postq.migrations import ensure_schema

    database = open_database(settings)
    ensure_schema(database)
    return database
