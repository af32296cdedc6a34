"""From a lease to the request a runner gets: paths, rows and the bundle, read from the database once."""

from pathlib import Path

import structlog
from sqlalchemy.orm import Session

from postq.contracts.device import Device
from postq.contracts.runner import BundleOnDisk, RunRequest
from postq.contracts.specs import JobKind
from postq.jobs.leases import Lease, pending_rows
from postq.models.bundle import BundleRow
from postq.models.corpus import Corpus
from postq.models.job import Job
from postq.worker.folders import Folders

_log = structlog.get_logger()


def make_request(session: Session, lease: Lease, *, device: Device, folders: Folders) -> RunRequest:
    """Everything the runner needs for this attempt."""
    corpus = session.get_one(Corpus, lease.corpus_id)
    training = lease.kind is JobKind.TRAIN
    return RunRequest(
        job_id=lease.job_id,
        shard_id=lease.shard_id,
        token=lease.token,
        spec=lease.spec,
        snapshot=folders.home / corpus.path,
        start_row=lease.start_row,
        stop_row=lease.stop_row,
        rows=_some_rows(session, lease),
        bundle=_bundle(session, lease, folders),
        device=device,
        output=folders.output(lease),
        checkpoint=_checkpoint(lease, folders),
        checkpoints=folders.checkpoints(lease) if training else None,
        bundles=folders.bundles if training else None,
        batch_divisor=lease.batch_divisor,
        extra={
            "corpus": f"{corpus.name} v{corpus.version}",
            "fingerprint": lease.fingerprint.hex() if lease.fingerprint else "",
            **_training_snapshot(session, lease, folders),
        },
    )


def _some_rows(session: Session, lease: Lease) -> tuple[int, ...] | None:
    """The rows to work on, unless they are all of the shard's."""
    if lease.kind is not JobKind.CLASSIFY:
        return None
    rows = pending_rows(session, lease)
    return None if len(rows) == lease.stop_row - lease.start_row else rows


def _checkpoint(lease: Lease, folders: Folders) -> Path | None:
    """The checkpoint to resume from: the registered one, or a later one that took its place on disk.

    A training goes on writing while the database is away, and removes old checkpoints as it does. When
    none is left at all, that costs time, not the job: it starts afresh.
    """
    if lease.checkpoint is None:
        return None
    registered = folders.home / lease.checkpoint
    if registered.is_dir():
        return registered
    others = [path for path in registered.parent.glob("*-[0-9]*") if path.is_dir()]
    if not others:
        _log.warning("The registered checkpoint is gone; training starts afresh.", path=str(registered))
    return max(others, key=_number, default=None)


def _number(checkpoint: Path) -> int:
    digits = checkpoint.name.rpartition("-")[2]
    return int(digits) if digits.isdigit() else -1


def _bundle(session: Session, lease: Lease, folders: Folders) -> BundleOnDisk | None:
    if lease.kind is JobKind.TRAIN or lease.bundle_id is None:
        return None
    row = session.get_one(BundleRow, lease.bundle_id)
    return BundleOnDisk(bundle_id=lease.bundle_id, path=folders.home / row.path, digest=row.digest)


def _training_snapshot(session: Session, lease: Lease, folders: Folders) -> dict[str, str]:
    """Where the corpus lies that the bundle was trained on: an evaluation looks there for near-duplicates."""
    if lease.kind is not JobKind.EVALUATE or lease.bundle_id is None:
        return {}
    made_by = session.get_one(BundleRow, lease.bundle_id).job_id
    training = session.get(Job, made_by) if made_by is not None else None
    if training is None:
        return {}
    return {"training_snapshot": str(folders.home / session.get_one(Corpus, training.corpus_id).path)}
