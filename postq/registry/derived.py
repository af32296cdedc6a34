"""Bundles that no job made here: their folder moved to its digest's place, and their row."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import col

from postq.errors import BundleUnusable
from postq.learning.bundle.bundle import Bundle, fingerprint
from postq.learning.bundle.mending import mend_all
from postq.learning.bundle.summary import in_short
from postq.learning.rejudging import read_metrics
from postq.learning.thresholds.threshold_set import threshold_digest
from postq.models.bundle import BundleRow
from postq.models.tables import bundle as bundle_table
from postq.registry.bundle_place import BUNDLES_FOLDER, place_aside, put_in_place
from postq.registry.bundles import count_test_touches, register_bundle


@contextmanager
def drafted(home: Path, make: Callable[[Path], Bundle]) -> Iterator[Bundle]:
    """A bundle that `make` writes into a draft folder, which is gone afterwards unless it was kept.

    A damaged folder of the same bundle is mended first, since that one is kept, not the draft; not within
    the transaction, where reading it whole would hold up every other writer of SQLite.
    """
    draft = place_aside(home)
    try:
        made = make(draft)
        mend_all(home / BUNDLES_FOLDER, made)
        yield made
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def keep_bundle(
    session: Session, bundle: Bundle, *, home: Path, parents: Sequence[BundleRow], now: datetime
) -> BundleRow:
    """Move the drafted bundle to its place and register it, in the caller's transaction.

    The row names the first parent's training, whose corpus evaluations compare with. Figures on the test
    split were shown again: one more look at it, for the parents too, so that of ten bundles made from one the
    last does not pass for the second look. One from another home has no parents here and begins anew. Made
    again, it is the same row. Raises NotFound for a parent that was removed meanwhile, StorageUnavailable,
    BundleUnusable for metrics that postq did not write.
    """
    path = put_in_place(session, bundle.path, digest=bundle.digest, home=home)
    known = session.scalars(sa.select(BundleRow).where(col(BundleRow.digest) == bundle.digest)).one_or_none()
    row = register_bundle(
        session,
        name=bundle.name,
        kind=bundle.kind,
        digest=bundle.digest,
        path=path,
        fingerprint=fingerprint(bundle),
        threshold_digest=threshold_digest(bundle.thresholds),
        labels=bundle.labels,
        metrics=_summary(bundle, home / path, parents),
        size_bytes=sum(entry.bytes for entry in bundle.manifest.files),
        job_id=parents[0].job_id if parents else None,
        now=now,
    )
    if known is None and parents:
        looks = count_test_touches(session, (parent.id for parent in parents if parent.id is not None))
        touched = sa.update(bundle_table).where(bundle_table.c.id == row.id)
        session.execute(touched.values(test_touches=looks))
    return row


def _summary(bundle: Bundle, place: Path, parents: Sequence[BundleRow]) -> dict[str, object]:
    metrics = read_metrics(replace(bundle, path=place))
    try:
        summary = in_short(bundle, metrics) | _origin(metrics, parents)
    except (KeyError, TypeError, AttributeError) as exc:
        raise BundleUnusable(
            f"The metrics of the bundle {bundle.name} are not as postq writes them.",
            hint="Copy its folder anew from where it was made.",
        ) from exc
    return summary | ({"brought_in": True} if _is_from_elsewhere(parents) else {})


def _is_from_elsewhere(parents: Sequence[BundleRow]) -> bool:
    """Whether another home may have looked at its test split, or at that of a bundle it was made from."""
    return not parents or any(parent.metrics.get("brought_in") for parent in parents)


def _origin(metrics: Mapping[str, Any], parents: Sequence[BundleRow]) -> dict[str, object]:
    """What the bundle was made from, with the numbers it has here, if any; nothing of a training."""
    numbers = [parent.id for parent in parents]
    if "parent" in metrics:
        return {"parent": {"bundle": numbers[0] if numbers else None, **metrics["parent"]}}
    if "members" not in metrics:
        return {}
    numbered = zip_longest(metrics["members"], numbers[: len(metrics["members"])])
    return {"members": [{"bundle": number, **member} for member, number in numbered]}
