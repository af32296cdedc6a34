"""Resolving what people write for a bundle: a number, a name, `@alias` or `job:N`."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import col

from postq.db import UNREMOVED
from postq.errors import Conflict, NotFound
from postq.models.bundle import Alias, BundleRow
from postq.models.job import Job

_JOB = re.compile(r"job:(\d{1,18})")
_NUMBER = re.compile(r"\d{1,18}")


def job_of_reference(reference: str) -> int | None:
    """The job number in `job:N`, or None when the reference is of another form."""
    match = _JOB.fullmatch(reference)
    return int(match[1]) if match else None


def resolve_bundle(session: Session, reference: str) -> BundleRow:
    """The bundle meant by `reference`; a bare name means its newest bundle.

    Raises NotFound with the nearest known names, Conflict when the job named has made no bundle yet.
    """
    job_id = job_of_reference(reference)
    if job_id is not None:
        return _of_job(session, job_id)
    if reference.startswith("@"):
        return _of_alias(session, reference)
    if _NUMBER.fullmatch(reference):
        return _of_number(session, int(reference))
    return _of_name(session, reference)


def hold_bundle(session: Session, reference: str) -> BundleRow:
    """The bundle meant by `reference`, which nobody can remove before the caller's transaction ends.

    For whoever is about to name it in a row. Raises as `resolve_bundle` does.
    """
    found = resolve_bundle(session, reference)
    held = session.get(BundleRow, found.id, populate_existing=True, with_for_update=UNREMOVED)
    if held is None:
        raise NotFound(
            f"Bundle {found.id} ({found.name}) was removed just now.",
            hint="See all bundles with: postq bundles list.",
        )
    return held


def _of_job(session: Session, job_id: int) -> BundleRow:
    job = session.get(Job, job_id)
    if job is None:
        raise NotFound(f"There is no job {job_id}.", hint="See all jobs with: postq status.")
    bundle = session.get(BundleRow, job.bundle_id) if job.bundle_id is not None else None
    if bundle is None:
        raise Conflict(
            f"Job {job_id} ({job.state}) has no bundle yet.",
            hint=f"Submit with --after {job_id}, or wait until it has succeeded.",
        )
    return bundle


def _of_alias(session: Session, reference: str) -> BundleRow:
    alias = session.get(Alias, reference[1:])
    bundle = session.get(BundleRow, alias.bundle_id) if alias else None
    if bundle is None:
        known = [f"@{name}" for name in session.scalars(sa.select(col(Alias.name)))]
        raise NotFound(
            f"There is no alias '{reference}'.",
            hint=_near(reference, known) or f"Set it with: postq bundles alias {reference} BUNDLE.",
        )
    return bundle


def _of_number(session: Session, number: int) -> BundleRow:
    bundle = session.get(BundleRow, number)
    if bundle is None:
        raise NotFound(f"There is no bundle {number}.", hint="See all bundles with: postq bundles list.")
    return bundle


def _of_name(session: Session, name: str) -> BundleRow:
    newest = (
        sa.select(BundleRow).where(col(BundleRow.name) == name).order_by(col(BundleRow.id).desc()).limit(1)
    )
    bundle = session.scalars(newest).one_or_none()
    if bundle is None:
        known = set(session.scalars(sa.select(col(BundleRow.name)).distinct()))
        known |= {f"@{alias}" for alias in session.scalars(sa.select(col(Alias.name)))}
        raise NotFound(
            f"There is no bundle '{name}'.",
            hint=_near(name, known) or "See all bundles with: postq bundles list.",
        )
    return bundle


def _near(wanted: str, known: Iterable[str]) -> str:
    close = get_close_matches(wanted, sorted(known), n=3)
    return f"Did you mean {' or '.join(close)}?" if close else ""
