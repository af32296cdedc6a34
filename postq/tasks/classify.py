"""Classification: score the documents of one shard, then store what came out of it."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from postq.contracts.document import Document
from postq.contracts.runner import BundleOnDisk, RunRequest
from postq.contracts.specs import ClassifySpec
from postq.crash_points import CrashPoint, reach
from postq.errors import BundleUnusable, DigestMismatch
from postq.learning.hooks import Hooks
from postq.tasks.requested import requested_rows
from postq.tasks.resident import Resident
from postq.tasks.results import SCORES_FILE, ResultWriter, read_quarantine, read_scores

if TYPE_CHECKING:  # the runner loads this file too and has no use for SQL
    from sqlalchemy.orm import Session

    from postq.jobs.commit import StoredCounts
    from postq.jobs.leases import Lease
    from postq.learning.bundle.bundle import Bundle
    from postq.learning.scorer import Scorer


def run(request: RunRequest, spec: ClassifySpec, *, hooks: Hooks, resident: Resident) -> dict[str, Any]:
    """Score every requested document, once; one that raises is quarantined and the rest go on."""
    hooks.progress("loading", 0, 1, {})
    bundle, scorer = resident.scorer(
        bundle_of(request),
        request.device,
        max_tokens_per_batch=spec.max_tokens_per_batch,
        batch_divisor=request.batch_divisor,
        precision=spec.precision,
    )
    check_fingerprint(request, bundle)
    hooks.progress("loading", 1, 1, {})
    documents, total = resident.documents(request), len(requested_rows(request))
    with ResultWriter(request.output, labels=bundle.labels) as writer:
        score_into(writer, scorer, documents, total=total, hooks=hooks, between=resident.look_ahead)
        reach(CrashPoint.BEFORE_RESULT)
    return {"decision": bundle.thresholds.decision.model_dump(mode="json")}


def store(session: "Session", lease: "Lease", result: dict[str, Any], *, folder: Path) -> "StoredCounts":
    """Write predictions and quarantined documents, in the transaction that holds the fence.

    No score file means that no row was left to score: others had done them all.
    """
    from postq.jobs.commit import StoredCounts

    if not (folder / SCORES_FILE).exists():
        return StoredCounts()
    return store_scores(session, lease, folder=folder, decision=result["decision"])


def store_scores(
    session: "Session", lease: "Lease", *, folder: Path, decision: dict[str, Any]
) -> "StoredCounts":
    """Bulk-write the result files of an attempt; `decision` is a Decision in the bundle's label order."""
    from postq.jobs.commit import StoredCounts
    from postq.learning.thresholds.decision import Decision
    from postq.models.bundle import BundleRow
    from postq.predictions.write import content_hashes, write_predictions, write_quarantine

    assert lease.bundle_id is not None
    assert lease.fingerprint is not None
    bundle = session.get_one(BundleRow, lease.bundle_id)
    hashes = content_hashes(
        session, corpus_id=lease.corpus_id, start_row=lease.start_row, stop_row=lease.stop_row
    )
    predicted = write_predictions(
        session,
        job_id=lease.job_id,
        attempt_id=lease.attempt_id,
        bundle_id=lease.bundle_id,
        fingerprint=lease.fingerprint,
        labels=bundle.labels,
        decision=Decision.model_validate(decision),
        batches=read_scores(folder),
        document_hashes=hashes,
    )
    failures = read_quarantine(folder)
    quarantined = write_quarantine(
        session, job_id=lease.job_id, attempt_id=lease.attempt_id, failures=failures
    )
    return StoredCounts(predicted=predicted, quarantined=quarantined)


def _nothing() -> None:
    """What is done between batches where nothing is."""


def score_into(
    writer: ResultWriter,
    scorer: "Scorer",
    documents: Iterable[Document],
    *,
    total: int,
    hooks: Hooks,
    between: Callable[[], None] = _nothing,
) -> None:
    """Score a stream of documents into the result files, telling how far it is of `total`.

    `between` is called after each batch.
    """
    hooks.progress("scoring", 0, total, {})
    batches = scorer.score(documents, on_failure=writer.quarantine, should_stop=hooks.should_stop)
    for batch in batches:
        writer.add(batch)
        hooks.progress("scoring", writer.documents, total, {})
        between()


def bundle_of(request: RunRequest) -> BundleOnDisk:
    """The bundle of a request of a kind that needs one."""
    if request.bundle is None:
        raise BundleUnusable("The job names no bundle.", hint="Submit it again with --bundle.")
    return request.bundle


def check_fingerprint(request: RunRequest, bundle: "Bundle") -> None:
    """Raise DigestMismatch unless the loaded bundle is the one the job's predictions are promised from."""
    from postq.learning.bundle.bundle import fingerprint

    if fingerprint(bundle).hex() != request.extra.get("fingerprint"):
        raise DigestMismatch(
            f"The bundle at {bundle.path} would not give the predictions this job is pinned to.",
            hint="This postq scores in another way than the one that planned the job: submit it again.",
        )
