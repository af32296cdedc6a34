"""Rows of bundles: registering what a training made, listing, aliases, counting looks at a test set."""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import col

from postq.db import insert_if_absent
from postq.errors import BadInput, NotFound
from postq.models.bundle import Alias, BundleRow
from postq.models.job import Job
from postq.models.tables import alias as alias_table
from postq.models.tables import bundle as bundle_table
from postq.registry.references import hold_bundle, resolve_bundle

__all__ = [
    "aliases",
    "count_test_touch",
    "count_test_touches",
    "drop_alias",
    "list_bundles",
    "register_bundle",
    "resolve_bundle",
    "set_alias",
    "show_bundle",
]

_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,99}")


def register_bundle(
    session: Session,
    *,
    name: str,
    kind: str,
    digest: str,
    path: str,
    fingerprint: bytes,
    threshold_digest: str,
    labels: Sequence[str],
    metrics: dict[str, Any],
    size_bytes: int,
    job_id: int | None,
    now: datetime,
) -> BundleRow:
    """Record the bundle whose folder lies at `path` (relative to home) and return its row.

    The same digest is recorded once: a training repeated with the same result finds the first row again.
    It becomes the bundle's training if the first was forgotten, since evaluations look in that one's corpus
    for near-duplicates.
    """
    row = {
        "name": name,
        "kind": kind,
        "digest": digest,
        "path": path,
        "fingerprint": fingerprint,
        "threshold_digest": threshold_digest,
        "labels": list(labels),
        "metrics": metrics,
        "size_bytes": size_bytes,
        "job_id": job_id,
        "created_at": now,
    }
    insert_if_absent(session, bundle_table, row)
    found = session.scalars(sa.select(BundleRow).where(col(BundleRow.digest) == digest)).one()
    if job_id is not None and (found.job_id is None or session.get(Job, found.job_id) is None):
        found.job_id = job_id
        session.flush()
    return found


def list_bundles(session: Session, *, name: str | None = None, limit: int = 1000) -> list[BundleRow]:
    """Bundles, newest first; all of them or those of one name."""
    query = sa.select(BundleRow).order_by(col(BundleRow.id).desc()).limit(limit)
    if name is not None:
        query = query.where(col(BundleRow.name) == name)
    return list(session.scalars(query))


def show_bundle(session: Session, reference: str) -> tuple[BundleRow, list[str]]:
    """The bundle meant by `reference` and the aliases that point at it. Raises NotFound, Conflict."""
    row = resolve_bundle(session, reference)
    names = session.scalars(
        sa.select(col(Alias.name)).where(col(Alias.bundle_id) == row.id).order_by(col(Alias.name))
    )
    return row, list(names)


def aliases(session: Session) -> list[Alias]:
    """Every alias, by name."""
    return list(session.scalars(sa.select(Alias).order_by(col(Alias.name))))


def set_alias(session: Session, name: str, reference: str, *, now: datetime) -> BundleRow:
    """Point the alias (written with or without `@`) at a bundle; an existing one moves.

    Raises BadInput for an unusable name, NotFound or Conflict for the bundle.
    """
    bare = _bare(name)
    target = hold_bundle(session, reference)
    values = {"bundle_id": target.id, "updated_at": now}
    if insert_if_absent(session, alias_table, {"name": bare, **values}) is None:
        session.execute(sa.update(alias_table).where(alias_table.c.name == bare).values(**values))
    return target


def drop_alias(session: Session, name: str) -> None:
    """Forget the alias. Raises NotFound."""
    bare = _bare(name)
    gone = session.execute(
        sa.delete(alias_table).where(alias_table.c.name == bare).returning(alias_table.c.name)
    )
    if gone.first() is None:
        raise NotFound(f"There is no alias '@{bare}'.", hint="See all aliases with: postq bundles list.")


def count_test_touch(session: Session, bundle_id: int) -> int:
    """Count one more evaluation on the bundle's test split; returns how many there were. Raises NotFound."""
    touches = session.execute(
        sa.update(bundle_table)
        .where(bundle_table.c.id == bundle_id)
        .values(test_touches=bundle_table.c.test_touches + 1)
        .returning(bundle_table.c.test_touches)
    ).scalar_one_or_none()
    if touches is None:
        raise NotFound(
            f"Bundle {bundle_id} was removed meanwhile.", hint="See all bundles with: postq bundles list."
        )
    return int(touches)


def count_test_touches(session: Session, bundle_ids: Iterable[int]) -> int:
    """Count one more evaluation for each of the bundles; returns the most there were. Raises NotFound.

    In one order whoever asks, or two ensembles of the same members at once could lock each other out.
    """
    return max(count_test_touch(session, bundle_id) for bundle_id in sorted(bundle_ids))


def _bare(name: str) -> str:
    bare = name.removeprefix("@")
    if not _ALIAS.fullmatch(bare):
        raise BadInput(
            f"'{name}' cannot be an alias.",
            hint="Begin with a letter, go on with letters, digits, dots or dashes, such as @production.",
        )
    return bare
