"""Evaluation: score documents the bundle has not seen, report every metric, keep the predictions."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from postq.contracts.document import Document
from postq.contracts.runner import RunRequest
from postq.contracts.specs import EvaluateSpec
from postq.corpus.snapshot import read_documents
from postq.counted import counted
from postq.crash_points import CrashPoint, reach
from postq.errors import IntegrityError, NotTrainable
from postq.learning.hooks import Hooks
from postq.tasks.classify import bundle_of, check_fingerprint, score_into, store_scores
from postq.tasks.resident import Resident
from postq.tasks.results import ResultWriter, check_coverage, read_scores

if TYPE_CHECKING:  # the runner loads this file too and has no use for SQL
    from sqlalchemy.orm import Session

    from postq.jobs.commit import StoredCounts
    from postq.jobs.leases import Lease
    from postq.learning.data import SplitEntry

SCORING_TOKENS = {"cpu": 16_384}
"""Tokens in one batch of an encoder, where that is not as many as in a classification."""


def run(request: RunRequest, spec: EvaluateSpec, *, hooks: Hooks, resident: Resident) -> dict[str, Any]:
    """Select the documents, look for leaks, score, and report at 0.5, global and default thresholds.

    Raises LeakRefused, and NotTrainable when there is nothing to evaluate on.
    """
    from postq.learning.bundle.split_file import read_split
    from postq.learning.evaluation import evaluate_bundle
    from postq.tasks.leaks import refuse_leaks

    bundle, scorer = resident.scorer(
        bundle_of(request),
        request.device,
        max_tokens_per_batch=SCORING_TOKENS.get(request.device.kind),
        batch_divisor=request.batch_divisor,
        precision=spec.precision,
    )
    check_fingerprint(request, bundle)
    view = bundle.recipe.text
    manifest = read_split(bundle.path)
    documents = _selected(request, spec, manifest)
    leaks = refuse_leaks(request, spec, manifest, documents, view=view, hooks=hooks)
    rows = [document.row for document in documents]
    with ResultWriter(request.output, labels=bundle.labels) as writer:
        texts = read_documents(request.snapshot, rows=rows, view=view)
        score_into(writer, scorer, texts, total=len(rows), hooks=hooks)
        reach(CrashPoint.BEFORE_RESULT)
    check_coverage(request.output, wanted=rows)
    scored, scores = _scored(request.output, documents)
    return {
        "split": spec.split,
        "documents": len(documents),
        "leaks": leaks,
        "report": evaluate_bundle(bundle, scored, scores),
        "decision": bundle.thresholds.decision.model_dump(mode="json"),
    }


def store(session: "Session", lease: "Lease", result: dict[str, Any], *, folder: Path) -> "StoredCounts":
    """Keep the predictions, the counts and the report; count the look at the test split."""
    from postq.registry.bundles import count_test_touch

    assert isinstance(lease.spec, EvaluateSpec)
    assert lease.bundle_id is not None
    counts = store_scores(session, lease, folder=folder, decision=result["decision"])
    if counts.predicted + counts.quarantined != result["documents"]:
        raise IntegrityError(
            f"{counted(result['documents'], 'document was', 'documents were')} to be evaluated, but the "
            f"scorer answered for {counts.predicted:,} and failed on {counts.quarantined:,}.",
            hint="This is a fault of the scorer or of postq; the evaluation is not stored.",
        )
    _count(session, lease, counts)
    told = {name: value for name, value in result.items() if name != "decision"}
    if lease.spec.split == "test":
        told["test_touches"] = count_test_touch(session, lease.bundle_id)
    return replace(counts, result=told)


def _selected(request: RunRequest, spec: EvaluateSpec, manifest: Sequence["SplitEntry"]) -> list[Document]:
    """The documents to evaluate on, without their texts: those of one split of the bundle's, or all."""
    everything = list(read_documents(request.snapshot, with_text=False))
    if spec.split == "all":
        return everything
    chosen = _members(everything, [entry for entry in manifest if entry.split == spec.split])
    if not chosen:
        raise NotTrainable(
            f"The corpus holds none of the documents of the bundle's {spec.split} split.",
            hint="Evaluate on the corpus the bundle was trained on, or use --split all for another corpus.",
        )
    return chosen


def _members(everything: Sequence[Document], entries: Sequence["SplitEntry"]) -> list[Document]:
    """The documents of a split: by name and content, or by content alone where it has another name by now.

    A copy of one that training had left out, since both would stand on either side, is no member.
    """
    named = {(entry.document_id, entry.content_hash) for entry in entries}
    found = {
        document.content_hash
        for document in everything
        if (document.document_id, document.content_hash) in named
    }
    renamed = {entry.content_hash for entry in entries} - found
    return [
        document
        for document in everything
        if (document.document_id, document.content_hash) in named or document.content_hash in renamed
    ]


def _scored(folder: Path, documents: Sequence[Document]) -> tuple[list[Document], NDArray[np.float32]]:
    """The documents that were scored, in snapshot order, and their (docs, labels) scores."""
    batches = list(read_scores(folder))
    if not batches:
        raise NotTrainable(
            "Every document failed to be scored, so there is nothing to report.",
            hint="See the errors with: postq status JOB; check that the corpus fits the bundle.",
        )
    rows = np.concatenate([batch.rows for batch in batches])
    scores = np.concatenate([batch.scores for batch in batches])
    order = np.argsort(rows)
    by_row = {document.row: document for document in documents}
    return [by_row[row] for row in rows[order].tolist()], scores[order]


def _count(session: "Session", lease: "Lease", counts: "StoredCounts") -> None:
    """Book the evaluated documents on the job; all others of the corpus are skipped."""
    import sqlalchemy as sa

    from postq.models.tables import job

    total = lease.stop_row - lease.start_row
    session.execute(
        sa.update(job)
        .where(job.c.id == lease.job_id)
        .values(
            documents_predicted=counts.predicted,
            documents_quarantined=counts.quarantined,
            documents_skipped=total - counts.predicted - counts.quarantined,
        )
    )
