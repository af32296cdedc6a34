"""Documents an evaluation must not use: those the bundle was trained or tuned on, or nearly so."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from postq.contracts.document import Document
from postq.contracts.recipes import TextView
from postq.contracts.runner import RunRequest
from postq.contracts.specs import EvaluateSpec
from postq.corpus.near_duplicates import Signatures, find_near_duplicates, sign_documents
from postq.corpus.snapshot import read_documents, read_keys
from postq.counted import counted
from postq.errors import LeakRefused
from postq.learning.data import SplitEntry
from postq.learning.evaluation import Leak, find_leaks
from postq.learning.hooks import Hooks, StopRequested

SHOWN = 5
"""How many leaked documents are named."""
UNCHECKED = "near_duplicates_unchecked"
"""Stands in the result where only identical texts could be looked for."""


def refuse_leaks(
    request: RunRequest,
    spec: EvaluateSpec,
    manifest: Sequence[SplitEntry],
    documents: Sequence[Document],
    *,
    view: TextView,
    hooks: Hooks,
) -> dict[str, Any]:
    """What was found, for the result; raises LeakRefused when something was and `allow_leak` is not set.

    Documents of the bundle's own test split were set apart by near-duplicate cluster when it was trained;
    any other corpus is compared text by text with what the bundle was trained on.
    """
    near: dict[str, str] | None = {}
    if spec.split == "all":
        near = _near_duplicates(request, manifest, documents, view=view, hooks=hooks)
    leaks = find_leaks(manifest, documents, near_duplicates=near)
    facts = _facts(leaks, evaluated=len(documents)) | ({UNCHECKED: True} if near is None else {})
    if leaks and not spec.allow_leak:
        raise LeakRefused(
            f"The bundle was trained or tuned on {_parts(leaks)} of the "
            f"{counted(len(documents), 'document')}, such as {', '.join(facts['examples'])}.",
            hint="Evaluate on its test split or on other documents; --allow-leak does it all the same, "
            "and the report then says so in large letters.",
        )
    if leaks:
        hooks.note("detector.leak", str(facts["watermark"]), facts)
    return facts


def _facts(leaks: Sequence[Leak], *, evaluated: int) -> dict[str, Any]:
    if not leaks:
        return {"documents": 0}
    return {
        "documents": len(leaks),
        "same_text": sum(leak.kind == "same_text" for leak in leaks),
        "near_duplicates": sum(leak.kind == "near_duplicate" for leak in leaks),
        "examples": [leak.document_id for leak in leaks[:SHOWN]],
        "watermark": f"CONTAMINATED: trained or tuned on {len(leaks):,} of {counted(evaluated, 'document')}",
    }


def _parts(leaks: Sequence[Leak]) -> str:
    same = sum(leak.kind == "same_text" for leak in leaks)
    near = len(leaks) - same
    return f"{same} (and near-duplicates of {near} more)" if near else str(same)


def _near_duplicates(
    request: RunRequest,
    manifest: Sequence[SplitEntry],
    documents: Sequence[Document],
    *,
    view: TextView,
    hooks: Hooks,
) -> dict[str, str] | None:
    """Document id → id of the training document it nearly equals, by MinHash over word 5-grams.

    None where the training corpus is not there to compare with, or nobody knows any more which it was.
    """
    trained_on = Path(request.extra.get("training_snapshot", ""))
    if not request.extra.get("training_snapshot") or not trained_on.is_dir():
        hooks.note(
            "leak.unchecked",
            "The training corpus is not on this machine, or its training was forgotten: only identical texts "
            "were looked for.",
            {"severity": "warning"},
        )
        return None
    seen = {entry.content_hash for entry in manifest if entry.split != "test"}
    known_ids, known = _signed(trained_on, seen, view=view, hooks=hooks)
    rows = [document.row for document in documents]
    fresh = sign_documents(read_documents(request.snapshot, rows=rows, view=view))
    matches = find_near_duplicates(known, fresh)
    return {
        document.document_id: known_ids[match]
        for document, match in zip(documents, matches.tolist(), strict=True)
        if match >= 0
    }


def _signed(
    snapshot: Path, seen: set[bytes], *, view: TextView, hooks: Hooks
) -> tuple[list[str], Signatures]:
    """Ids and signatures of the documents of a training corpus whose content is in `seen`."""
    keys = read_keys(snapshot)
    rows = [row for row, content in enumerate(keys.content_hashes) if content in seen]

    def signed(done: int) -> None:
        if hooks.should_stop():
            raise StopRequested
        hooks.progress("comparing", done, len(rows), {})

    signatures = sign_documents(read_documents(snapshot, rows=rows, view=view), progress=signed)
    return [keys.document_ids[row] for row in rows], signatures
