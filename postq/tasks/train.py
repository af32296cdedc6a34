"""Training: make a bundle in the attempt's folder, then move it into place under the fence."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from postq.contracts.runner import RunRequest
from postq.contracts.specs import TrainSpec
from postq.crash_points import CrashPoint, reach
from postq.learning.hooks import Hooks
from postq.tasks.resident import Resident

if TYPE_CHECKING:  # the runner loads this file too and has no use for SQL
    from sqlalchemy.orm import Session

    from postq.jobs.commit import StoredCounts
    from postq.jobs.leases import Lease

BUNDLE_FOLDER = "bundle"
"""Below the attempt's folder while it is being made."""


def run(request: RunRequest, spec: TrainSpec, *, hooks: Hooks, resident: Resident) -> dict[str, Any]:
    """Read, split and train; the bundle's folder lies in the attempt's folder afterwards."""
    from postq.learning.bundle import fingerprint, mend_all, open_bundle
    from postq.learning.thresholds.threshold_set import threshold_digest
    from postq.learning.training import train_bundle
    from postq.tasks.training_data import training_data

    resident.forget()
    _tell_devices(request, spec, hooks=hooks)
    data = training_data(request, spec.recipe, corpus=request.extra.get("corpus", ""), hooks=hooks)
    folder = request.output / BUNDLE_FOLDER
    facts = train_bundle(
        spec.recipe,
        data,
        output=folder,
        name=spec.bundle_name,
        device=request.device if spec.devices == "all" else request.device.one(),
        hooks=hooks,
        checkpoints=request.checkpoints,
        resume_from=request.checkpoint,
        batch_divisor=request.batch_divisor,
    )
    bundle = open_bundle(folder, expected_digest=facts["digest"])
    if request.bundles is not None and mend_all(request.bundles, bundle):
        hooks.note("bundle", "This very bundle was here already, and damaged: its folder is whole again.", {})
    reach(CrashPoint.BEFORE_RESULT)
    return {
        "facts": facts,
        "fingerprint": fingerprint(bundle).hex(),
        "threshold_digest": threshold_digest(bundle.thresholds),
        "labels": list(bundle.labels),
        "size_bytes": sum(entry.bytes for entry in bundle.manifest.files),
    }


def _tell_devices(request: RunRequest, spec: TrainSpec, *, hooks: Hooks) -> None:
    """A training for all devices that got one ran where none of the live workers it fits owned several."""
    if spec.devices == "all" and request.device.count == 1:
        hooks.note(
            "devices",
            f"Asked to train on all devices, but {request.device.label} is all that this worker owns, and no "
            "live worker that the job fits owned several.",
            {"device": request.device.label},
        )


def store(
    session: "Session", lease: "Lease", result: dict[str, Any], *, folder: Path, home: Path, now: datetime
) -> "StoredCounts":
    """Move the bundle's folder to its digest's place and register it for the job.

    After a crash between the move and the commit the next attempt, whose bundle is the same byte for byte,
    finds it in place.
    """
    from postq.jobs.commit import StoredCounts
    from postq.registry.bundle_place import put_in_place
    from postq.registry.bundles import register_bundle

    assert isinstance(lease.spec, TrainSpec)
    facts = result["facts"]
    path = put_in_place(session, folder / BUNDLE_FOLDER, digest=facts["digest"], home=home)
    row = register_bundle(
        session,
        name=lease.spec.bundle_name,
        kind=facts["kind"],
        digest=facts["digest"],
        path=path,
        fingerprint=bytes.fromhex(result["fingerprint"]),
        threshold_digest=result["threshold_digest"],
        labels=result["labels"],
        metrics=facts,
        size_bytes=result["size_bytes"],
        job_id=lease.job_id,
        now=now,
    )
    return StoredCounts(bundle_id=row.id, result=facts)
