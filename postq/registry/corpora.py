"""Rows of corpora: resolving the ways people name one, listing, and removing snapshots no row knows.

Adding a corpus lives in `registry/intake.py`, since it loads the readers and this file must stay light.
"""

import re
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import col

from postq.database_tag import database_tag, tagged
from postq.db import UNREMOVED
from postq.errors import NotFound
from postq.models.corpus import Corpus
from postq.models.tables import corpus as corpus_table
from postq.registry.abandoned import remove_abandoned

CORPORA_FOLDER = "corpora"
"""Below home; holds one folder per corpus version."""

_NUMBER = re.compile(r"\d{1,18}")
_VERSION = re.compile(r"(?P<name>.+)@(?P<version>\d{1,9})")


def resolve_corpus(session: Session, reference: str) -> Corpus:
    """The corpus meant by `NAME` (its newest version), `NAME@3` or a number.

    Raises NotFound with the nearest known names.
    """
    if _NUMBER.fullmatch(reference):
        return _found(session, reference, col(Corpus.id) == int(reference))
    if match := _VERSION.fullmatch(reference):
        this = sa.and_(col(Corpus.name) == match["name"], col(Corpus.version) == int(match["version"]))
        return _found(session, reference, this)
    return _found(session, reference, col(Corpus.name) == reference)


def hold_corpus(session: Session, reference: str) -> Corpus:
    """The corpus meant by `reference`, which nobody can remove before the caller's transaction ends.

    For whoever is about to name it in a row. Raises as `resolve_corpus` does.
    """
    found = resolve_corpus(session, reference)
    held = session.get(Corpus, found.id, populate_existing=True, with_for_update=UNREMOVED)
    if held is None:
        raise NotFound(
            f"Corpus {found.name}@{found.version} was removed just now.",
            hint="See all corpora with: postq corpus list.",
        )
    return held


def list_corpora(session: Session, *, name: str | None = None, limit: int = 1000) -> list[Corpus]:
    """Corpus versions, newest first; all of them or those of one name."""
    query = sa.select(Corpus).order_by(col(Corpus.id).desc()).limit(limit)
    if name is not None:
        query = query.where(col(Corpus.name) == name)
    return list(session.scalars(query))


def prune_snapshots(session: Session, *, home: Path, now: datetime) -> int:
    """Remove snapshot folders that no corpus row names and nobody writes any more; how many there were.

    Such a folder is what an add leaves behind that died while it wrote its snapshot or before its commit.
    """
    known = set(session.scalars(sa.select(corpus_table.c.path)))
    corpora, own = home / CORPORA_FOLDER, tagged("*", database_tag(session, home=home))
    found = (*corpora.glob(own), *corpora.glob(f".{own}.*"))
    unnamed = [place for place in found if f"{CORPORA_FOLDER}/{place.name}" not in known]
    return remove_abandoned(unnamed, now=now)


def _found(session: Session, reference: str, condition: sa.ColumnElement[bool]) -> Corpus:
    newest = sa.select(Corpus).where(condition).order_by(col(Corpus.version).desc()).limit(1)
    row = session.scalars(newest).one_or_none()
    if row is None:
        raise NotFound(f"There is no corpus '{reference}'.", hint=_nearest(session, reference))
    return row


def _nearest(session: Session, reference: str) -> str:
    known = set(session.scalars(sa.select(corpus_table.c.name)))
    name = reference.partition("@")[0]
    if name in known:
        newest = max(row.version for row in list_corpora(session, name=name))
        return f"The newest version of {name} is {name}@{newest}."
    close = get_close_matches(name, sorted(known), n=3)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return (
        "See all corpora with: postq corpus list." if known else "Add one with: postq corpus add NAME FILE."
    )
