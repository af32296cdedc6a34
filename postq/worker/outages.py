"""Telling a database that is away for a while from a statement that is wrong."""

from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from postq.errors import DatabaseUnavailable


def is_outage(exc: BaseException) -> bool:
    """True when trying the same again later can help: nobody's data is at fault."""
    if isinstance(exc, DatabaseUnavailable | InterfaceError | DisconnectionError | PoolTimeout):
        return True
    return isinstance(exc, DBAPIError) and exc.connection_invalidated
