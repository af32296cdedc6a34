"""Taking corpora and bundles away for good: only what no job, alias or schedule stands on any more."""

import shutil
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.counted import counted
from postq.database_tag import is_own
from postq.errors import Conflict, NotFound
from postq.models.bundle import BundleRow
from postq.models.corpus import Corpus
from postq.models.job import JobState
from postq.models.tables import alias, bundle, corpus, document, job, schedule
from postq.registry.bundle_place import hold_digest
from postq.registry.corpora import resolve_corpus
from postq.registry.references import resolve_bundle


def removable_corpus(session: Session, reference: str) -> Corpus:
    """A corpus version nothing stands on.

    Raises NotFound, or Conflict when a job was given the corpus or a schedule would classify it next.
    """
    row = resolve_corpus(session, reference)
    _refuse_corpus(session, row)
    return row


def remove_corpus(session: Session, reference: str) -> Corpus:
    """Delete one corpus version and its document references; returns its row as it was.

    Its folder is for `clear_folder`, once this is committed. Raises as `removable_corpus` does.
    """
    row = resolve_corpus(session, reference)
    _lock(session, Corpus, row.id, f"Corpus {row.name}@{row.version}")
    _refuse_corpus(session, row)
    session.expunge(row)
    session.execute(sa.delete(document).where(document.c.corpus_id == row.id))
    session.execute(sa.delete(corpus).where(corpus.c.id == row.id))
    return row


def removable_bundle(session: Session, reference: str) -> BundleRow:
    """A bundle nothing stands on.

    Raises NotFound, or Conflict when an alias points at it, a job made, used or waits to use it, or a
    schedule classifies with it.
    """
    row = resolve_bundle(session, reference)
    _refuse_bundle(session, row)
    return row


def remove_bundle(session: Session, reference: str) -> BundleRow:
    """Delete one bundle's row; returns it as it was.

    Its folder is for `bundle_place.take_away`, once this is committed. Raises as `removable_bundle` does.
    """
    row = resolve_bundle(session, reference)
    hold_digest(session, row.digest)
    _lock(session, BundleRow, row.id, f"Bundle {row.id} ({row.name})")
    _refuse_bundle(session, row)
    session.expunge(row)
    session.execute(sa.delete(bundle).where(bundle.c.id == row.id))
    return row


def clear_folder(session: Session, path: str, *, home: Path) -> None:
    """Remove the snapshot of a corpus that is gone, `path` relative to home; no other is ever put there.

    It stays where its name does not say that it is this database's.
    """
    if is_own(session, home / path, home=home):
        shutil.rmtree(home / path, ignore_errors=True)


def _lock(session: Session, kind: type[Corpus | BundleRow], key: int | None, title: str) -> None:
    """Wait for whoever is about to name the row, and let nobody begin to: only then look at who names it."""
    if session.get(kind, key, populate_existing=True, with_for_update=True) is None:
        raise NotFound(f"{title} was removed just now.", hint="There is nothing left to remove.")


def _refuse_corpus(session: Session, row: Corpus) -> None:
    title = f"corpus {row.name}@{row.version}"
    _refuse_if_a_job_names(session, job.c.corpus_id == row.id, title)
    _refuse_if_scheduled(session, schedule.c.corpus, resolve_corpus, row.id, title)


def _refuse_bundle(session: Session, row: BundleRow) -> None:
    title = f"bundle {row.id} ({row.name})"
    name = session.scalar(sa.select(alias.c.name).where(alias.c.bundle_id == row.id).limit(1))
    if name is not None:
        raise Conflict(
            f"@{name} points at {title}.",
            hint=f"Point it elsewhere first: postq bundles alias @{name} BUNDLE.",
        )
    _refuse_if_a_job_names(session, job.c.bundle_id == row.id, title)
    _refuse_if_awaited(session, row, title)
    _refuse_if_scheduled(session, schedule.c.bundle, resolve_bundle, row.id, title)


def _refuse_if_a_job_names(session: Session, names: sa.ColumnElement[bool], title: str) -> None:
    newest, how_many = session.execute(sa.select(sa.func.max(job.c.id), sa.func.count()).where(names)).one()
    if how_many:
        jobs = (
            f"Job {newest} and {counted(how_many - 1, 'other')} stand"
            if how_many > 1
            else f"Job {newest} stands"
        )
        raise Conflict(
            f"{jobs} on {title}.",
            hint="Forget old jobs first, with their predictions: postq prune --before 90d.",
        )


def _refuse_if_awaited(session: Session, row: BundleRow, title: str) -> None:
    """A blocked job looks its bundle up only when it becomes ready, and would fail then."""
    blocked = sa.select(job.c.id, job.c.spec).where(job.c.state == JobState.BLOCKED)
    for job_id, spec in session.execute(blocked).all():
        if "bundle" in spec and _means(session, resolve_bundle, spec["bundle"], row.id):
            raise Conflict(
                f"Job {job_id} is blocked and will use {title}.",
                hint=f"Wait until it has ended and was pruned, or first: postq cancel {job_id}.",
            )


def _refuse_if_scheduled(
    session: Session,
    reference: sa.Column[str],
    resolve: Callable[[Session, str], Corpus | BundleRow],
    this: int | None,
    title: str,
) -> None:
    live = sa.select(schedule.c.name, reference).where(schedule.c.removed_at.is_(None))
    for name, text in session.execute(live).all():
        if _means(session, resolve, text, this):
            raise Conflict(
                f"The schedule {name} classifies with or from {title}.",
                hint=f"First: postq schedule remove {name}.",
            )


def _means(
    session: Session, resolve: Callable[[Session, str], Corpus | BundleRow], text: str, this: int | None
) -> bool:
    """Whether the reference leads to the row of this number now."""
    try:
        return resolve(session, text).id == this
    except (NotFound, Conflict):
        return False
