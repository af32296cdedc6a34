"""Classification: score the documents of one shard, then store what came out of it."""

from collections.abc import Iterable
from typing import Any

from postq.contracts.document import Document
from postq.contracts.runner import BundleOnDisk, RunRequest
from postq.contracts.specs import ClassifySpec
from postq.crash_points import CrashPoint, reach
from postq.errors import BundleUnusable
from postq.learning.hooks import Hooks
from postq.learning.scoring import Scorer
from postq.tasks.requested import requested_documents, requested_rows
from postq.tasks.resident import Resident
from postq.tasks.results import ResultWriter


def run(request: RunRequest, spec: ClassifySpec, *, hooks: Hooks, resident: Resident) -> dict[str, Any]:
    """Score every requested document, once; one that raises is quarantined and the rest go on."""
    hooks.progress("loading", 0, 1, {})
    bundle, scorer = resident.scorer(
        bundle_of(request),
        request.device,
        max_tokens_per_batch=spec.max_tokens_per_batch,
        batch_divisor=request.batch_divisor,
    )
    hooks.progress("loading", 1, 1, {})
    documents = requested_documents(request, view=bundle.recipe.text)
    with ResultWriter(request.output, labels=bundle.labels) as writer:
        score_into(writer, scorer, documents, total=len(requested_rows(request)), hooks=hooks)
        reach(CrashPoint.BEFORE_RESULT)
    return {"predicted": writer.predicted, "quarantined": writer.quarantined}


def score_into(
    writer: ResultWriter, scorer: Scorer, documents: Iterable[Document], *, total: int, hooks: Hooks
) -> None:
    """Score a stream of documents into the result files, telling how far it is of `total`."""
    hooks.progress("scoring", 0, total, {})
    batches = scorer.score(documents, on_failure=writer.quarantine, should_stop=hooks.should_stop)
    for batch in batches:
        writer.add(batch)
        hooks.progress("scoring", writer.documents, total, {})


def bundle_of(request: RunRequest) -> BundleOnDisk:
    """The bundle of a request of a kind that needs one."""
    if request.bundle is None:
        raise BundleUnusable("The job names no bundle.", hint="Submit it again with --bundle.")
    return request.bundle
