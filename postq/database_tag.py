"""Whose a folder below home is: its name ends in a tag of the database whose rows name it.

Two databases with one home number their jobs alike and may make the same bundle. A folder whose name bears no
tag, or another one, is never removed, and never written to but to mend a bundle that is damaged.
"""

import hashlib
import os
import re
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import NotSupportedError, ProgrammingError
from sqlalchemy.orm import Session

_TAG = re.compile(r".+-([0-9a-f]{8})")


def database_tag(session: Session, *, home: Path) -> str:
    """Eight hexadecimal digits that tell this database from every other with the same home.

    PostgreSQL's follow from the server's own identity and the database's number there, whatever host name or
    login leads to it; a file's from its place beside or below home and the number it got when it was made, so
    that neither its copy nor a new one in its place has them.
    """
    facts = _of_file(session, home) if _is_sqlite(session) else _of_server(session)
    return hashlib.sha256(facts.encode()).hexdigest()[:8]


def tagged(name: str, tag: str) -> str:
    """The name of a folder of the database with this tag."""
    return f"{name}-{tag}"


def tag_in(name: str) -> str | None:
    """The tag that a folder's name bears; None when it bears none."""
    match = _TAG.fullmatch(name)
    return match[1] if match else None


def is_own(session: Session, folder: Path, *, home: Path) -> bool:
    """Whether the folder's name says that it is this database's, which alone may remove it then."""
    return tag_in(folder.name) == database_tag(session, home=home)


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"


def _of_file(session: Session, home: Path) -> str:
    file = Path(session.get_bind().engine.url.database or "").resolve()
    number = session.scalar(sa.text("PRAGMA application_id"))
    return f"sqlite {os.path.relpath(file, home.resolve())} {number}"


def _of_server(session: Session) -> str:
    number = session.scalar(sa.text("SELECT oid FROM pg_database WHERE datname = current_database()"))
    try:
        with session.begin_nested():
            server = session.scalar(sa.text("SELECT system_identifier FROM pg_control_system()"))
    except (NotSupportedError, ProgrammingError):  # some hosted servers do not tell
        url = session.get_bind().engine.url
        server = f"{(url.host or '').lower()}:{url.port}"
    return f"postgresql {server} {number}"
