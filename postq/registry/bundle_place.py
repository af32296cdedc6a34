"""Where a bundle's folder lies, and whose turn it is to put it there or to take it away.

A bundle is the same row and the same folder whoever makes it, so that a removal may meet a training that ends
in the very bundle it removes. Both hold the digest while they look at the folder and its row.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.database_tag import database_tag, is_own, tagged
from postq.db import Database
from postq.errors import StorageUnavailable
from postq.learning.bundle.mending import ASIDE, aside
from postq.models.bundle import BundleRow
from postq.models.tables import bundle
from postq.registry.abandoned import ABANDONED_AFTER, abandoned, remove_abandoned

BUNDLES_FOLDER = "bundles"
"""Below home; holds one folder per bundle, named by its digest and its database."""
_NAME = re.compile(r"(?P<digest>[0-9a-f]{64})-[0-9a-f]{8}")


def hold_digest(session: Session, digest: str) -> None:
    """Until the transaction ends, nobody else registers or removes the bundle of this digest.

    SQLite lets one writer in at a time anyway. On PostgreSQL a row lock would not do: there may be no row.
    """
    if session.get_bind().dialect.name == "postgresql":
        key = int.from_bytes(hashlib.sha256(f"bundle {digest}".encode()).digest()[:8], signed=True)
        session.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def put_in_place(session: Session, source: Path, *, digest: str, home: Path) -> str:
    """Move a bundle's folder to its digest's place, unless an equal one is there; returns its path.

    The path is relative to home. Whoever made the bundle has mended an equal one before (`mend`). The move
    comes before the commit, and is durable then: a crash between the two leaves a whole folder that no row
    names, until the bundle is made again or `sweep_unnamed` finds it. Raises StorageUnavailable.
    """
    hold_digest(session, digest)
    path = _place_of(session, digest, home=home)
    place = home / path
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        if not place.exists():
            source.rename(place)
        descriptor = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise StorageUnavailable(
            f"The bundle could not be moved to {place}: {exc.strerror or exc}.",
            hint="Check that POSTQ_HOME is one writable file system with room left, then try again.",
        ) from exc
    return path


def take_away(database: Database, row: BundleRow, *, home: Path) -> None:
    """Remove the folder of a bundle whose row is gone, unless the bundle was made again since.

    Call it once the row's removal is committed: the folder of a row that stays is never touched, nor is one
    whose name does not say that it is this database's. Raises StorageUnavailable when it may not go.
    """
    place = home / row.path
    try:
        _let_vanish(database, place, digest=row.digest, home=home)
    except OSError as exc:
        raise StorageUnavailable(
            f"Bundle {row.id} is removed, but its folder {place} stays: {exc.strerror or exc}.",
            hint="Remove the folder as a user who may; nothing names it any more.",
        ) from exc


def unnamed_folders(session: Session, *, home: Path, before: datetime, now: datetime) -> list[Path]:
    """This database's folders of bundles that no row names and nobody wrote to since `before`, nor for a day.

    A crash between a training's move and its commit leaves one.
    """
    named = set(session.scalars(sa.select(bundle.c.path)))
    own = (home / BUNDLES_FOLDER).glob(tagged("*", database_tag(session, home=home)))
    unnamed = [
        place
        for place in sorted(own)
        if _NAME.fullmatch(place.name) and f"{BUNDLES_FOLDER}/{place.name}" not in named
    ]
    return abandoned(unnamed, before=min(before, now - ABANDONED_AFTER))


def sweep_unnamed(database: Database, places: Iterable[Path], *, home: Path) -> int:
    """Remove `places`, found by `unnamed_folders`, that no row names still; how many there were.

    Raises StorageUnavailable when one may not go.
    """
    try:
        return sum(
            _let_vanish(database, place, digest=match["digest"], home=home)
            for place in places
            if (match := _NAME.fullmatch(place.name))
        )
    except OSError as exc:
        raise StorageUnavailable(
            f"A folder in {home / BUNDLES_FOLDER} that no row names stays: {exc.strerror or exc}.",
            hint="Remove it as a user who may, or let one who may run postq prune.",
        ) from exc


def _let_vanish(database: Database, place: Path, *, digest: str, home: Path) -> bool:
    """Remove the folder, if it is this database's, unless a row names its bundle; whether it went.

    It vanishes by one rename under the digest's lock, so that whoever makes the bundle finds a whole folder
    or none, and whoever is about to commit its row is waited for.
    """
    gone = place_aside(home)
    with database.transaction() as session:
        hold_digest(session, digest)
        if not is_own(session, place, home=home) or _row_path(session, digest) is not None:
            return False
        try:
            place.rename(gone)
        except FileNotFoundError:
            return False
    shutil.rmtree(gone, ignore_errors=True)
    return True


def _place_of(session: Session, digest: str, *, home: Path) -> str:
    """Where the bundle of this digest lies or is to lie, relative to home."""
    named = _row_path(session, digest)
    return named or f"{BUNDLES_FOLDER}/{tagged(digest, database_tag(session, home=home))}"


def _row_path(session: Session, digest: str) -> str | None:
    return session.scalar(sa.select(bundle.c.path).where(bundle.c.digest == digest))


def place_aside(home: Path) -> Path:
    """Where a folder lies that is no bundle yet, or none any more."""
    return aside(home / BUNDLES_FOLDER)


def prune_aside(*, home: Path, now: datetime) -> int:
    """Remove what lies aside because its maker or remover died; how many there were.

    A draft that was still being written lies beside its name, under one that holds it.
    """
    return remove_abandoned((home / BUNDLES_FOLDER).glob(f"*{ASIDE}*"), now=now)
