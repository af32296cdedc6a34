"""Writing or copying a bundle: a temporary folder, every file flushed, the manifest last, then one rename."""

import json
import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from postq.contracts.recipes import BundleRecipe
from postq.errors import Conflict, StorageUnavailable
from postq.learning.bundle.bundle import Bundle, describe_bundle
from postq.learning.bundle.card import model_card
from postq.learning.bundle.manifest import (
    CARD,
    LABELS,
    MANIFEST,
    METRICS,
    THRESHOLDS,
    BundleKind,
    Manifest,
    describe_files,
    model_digest,
)
from postq.learning.bundle.opening import open_bundle
from postq.learning.bundle.score_file import ScoredPart, write_scores
from postq.learning.bundle.split_file import write_split
from postq.learning.data import SplitEntry
from postq.learning.thresholds.threshold_set import ThresholdSet

RECORDED_PACKAGES = (
    "postq",
    "numpy",
    "scikit-learn",
    "scipy",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
)


def write_bundle(
    folder: Path,
    *,
    kind: BundleKind,
    name: str,
    labels: tuple[str, ...],
    thresholds: ThresholdSet,
    split: Sequence[SplitEntry],
    metrics: Mapping[str, Any],
    recipe: BundleRecipe,
    corpus: str,
    write_model_files: Callable[[Path], None],
    scores: Sequence[ScoredPart] = (),
    stored_recipe: Mapping[str, Any] | None = None,
) -> Bundle:
    """Write a complete bundle at `folder`, or nothing; `write_model_files` fills a given folder with weights.

    `stored_recipe` is how the bundle that the model comes from words `recipe`; worded the same here, the
    model keeps its digest. The thresholds are bound to that digest. Raises Conflict when `folder` holds
    something already, StorageUnavailable when the disk refuses.
    """
    staging = _stage(folder)
    worded = dict(stored_recipe or recipe.model_dump(mode="json"))
    try:
        write_model_files(staging)
        _write_json(staging / LABELS, list(labels))
        digest = model_digest(describe_files(staging), kind=kind, recipe=worded)
        bound = thresholds.bound_to(digest)
        _write_json(staging / THRESHOLDS, bound.model_dump(mode="json"))
        _write_json(staging / METRICS, metrics)
        write_split(staging, split)
        write_scores(staging, scores)
        card = model_card(name=name, recipe=recipe, labels=labels, corpus=corpus, metrics=metrics)
        (staging / CARD).write_text(card, encoding="utf-8")
        manifest = Manifest(
            kind=kind,
            name=name,
            corpus=corpus,
            score_space=thresholds.score_space,
            recipe=worded,
            versions=_versions(),
            files=describe_files(staging),
            model_digest=digest,
        ).sealed()
        _write_json(staging / MANIFEST, manifest.model_dump(mode="json"))
        _publish(staging, folder)
    except OSError as exc:
        raise _refused(folder, exc) from exc
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return describe_bundle(folder, manifest=manifest, labels=labels, thresholds=bound)


def copy_bundle(source: Path, folder: Path) -> Bundle:
    """Copy the bundle at `source` to `folder`, or nothing; it is checked before and after.

    Raises BundleUnusable, DigestMismatch, Conflict when `folder` holds something already, StorageUnavailable.
    """
    found = open_bundle(source)
    staging = _stage(folder)
    try:
        for name in (MANIFEST, *(entry.path for entry in found.manifest.files)):
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, staging / name)
        _publish(staging, folder)
    except OSError as exc:
        raise _refused(folder, exc) from exc
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return open_bundle(folder, expected_digest=found.digest)


def _stage(folder: Path) -> Path:
    """A new folder beside `folder`, on the same file system, so that a rename can publish it."""
    staging = folder.parent / f".{folder.name}.{uuid.uuid4().hex}.tmp"
    try:
        occupied = folder.exists() and any(folder.iterdir())
        if not occupied:
            staging.mkdir(parents=True)
    except OSError as exc:
        raise _refused(folder, exc) from exc
    if occupied:
        raise Conflict(f"{folder} already holds files.", hint="Write the bundle to a new folder.")
    return staging


def _publish(staging: Path, folder: Path) -> None:
    """Flush everything, then make it appear under its name in one step."""
    for path in staging.rglob("*"):
        flush(path)
    flush(staging)
    staging.rename(folder)
    flush(folder.parent)


def _refused(folder: Path, exc: OSError) -> StorageUnavailable:
    return StorageUnavailable(
        f"The bundle could not be written to {folder}: {exc.strerror or exc}.",
        hint="Free space or choose a writable folder, then try again.",
    )


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _versions() -> dict[str, str]:
    found = {}
    for package in RECORDED_PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def flush(path: Path) -> None:
    """Bring a file or a folder's list of names to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
