"""Opening a bundle: nothing is loaded before the folder was checked file by file against its manifest."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from postq.errors import BundleUnusable, DigestMismatch
from postq.learning.bundle.bundle import Bundle, describe_bundle
from postq.learning.bundle.manifest import (
    FORMAT_VERSION,
    LABELS,
    MANIFEST,
    PREPROCESSING_VERSION,
    THRESHOLDS,
    Manifest,
    describe_file,
    manifest_digest,
    model_digest,
)
from postq.learning.thresholds.threshold_set import ThresholdSet

ALLOWED_SUFFIXES = frozenset(
    {".json", ".jsonl", ".md", ".model", ".parquet", ".safetensors", ".txt", ".jinja"}
)
"""Data only. Pickles, torch archives, Python files and shared objects are never part of a bundle."""
MAX_JSON_BYTES = 256 * 2**20
MAX_MANIFEST_BYTES = 16 * 2**20
MAX_FILES = 1000
HINT = "Train the bundle again, or take in a good copy with: postq bundles add FOLDER."


def open_bundle(path: Path, *, expected_digest: str | None = None) -> Bundle:
    """Verify the folder at `path` and describe it; loads no weights.

    Raises BundleUnusable when files are missing, executable, linked, may not be read or do not fit each
    other, and DigestMismatch when a file is not the one the manifest was written for, or the manifest is not
    the one `expected_digest` names.
    """
    try:
        return _opened(path, expected_digest=expected_digest)
    except OSError as exc:
        raise BundleUnusable(
            f"The bundle at {path} cannot be read: {exc.strerror or exc}.",
            hint="Check that this user may read the folder and every file in it.",
        ) from exc


def _opened(path: Path, *, expected_digest: str | None) -> Bundle:
    manifest = read_manifest(path)
    if expected_digest is not None and manifest.digest != expected_digest:
        raise DigestMismatch(
            f"The bundle at {path} is not the one asked for: its digest starts {manifest.digest[:12]}, "
            f"not {expected_digest[:12]}.",
            hint=HINT,
        )
    _check_listing(path, manifest)
    _check_contents(path, manifest)
    _check_no_remote_code(path)
    labels = _read_labels(path)
    thresholds = _read_thresholds(path)
    thresholds.require_match(
        labels=labels, score_space=manifest.score_space, model_digest=manifest.model_digest
    )
    return describe_bundle(path, manifest=manifest, labels=labels, thresholds=thresholds)


def read_manifest(path: Path) -> Manifest:
    """Parse and self-check `manifest.json`; no other file is touched.

    Its digests are taken over what stands there, so that a recipe written before an option was known is
    whole, and one that was changed since is not.
    """
    if path.is_symlink() or not path.is_dir():
        raise BundleUnusable(f"{path} is not a bundle folder.", hint=HINT)
    raw = _read_json(path / MANIFEST, limit=MAX_MANIFEST_BYTES)
    try:
        manifest = Manifest.model_validate(raw)
        manifest.parsed_recipe()
        own, model = manifest_digest(raw), _model_digest(manifest)
    except ValidationError as exc:
        raise _not_understood(path, exc) from exc
    except ValueError as exc:  # not-a-number, which no bundle is written with
        raise BundleUnusable(f"{MANIFEST} of {path} is not a bundle manifest.", hint=HINT) from exc
    _check_versions(manifest)
    if manifest.digest != own or manifest.model_digest != model:
        raise DigestMismatch(f"{MANIFEST} of {path} was changed after it was written.", hint=HINT)
    return manifest


def _model_digest(manifest: Manifest) -> str:
    return model_digest(manifest.files, kind=manifest.kind, recipe=manifest.recipe)


def _not_understood(path: Path, exc: ValidationError) -> BundleUnusable:
    """A field this postq does not know may decide scores, so it is never passed over."""
    unknown = [error["loc"][-1] for error in exc.errors() if error["type"] == "extra_forbidden"]
    if unknown:
        return BundleUnusable(
            f"{MANIFEST} of {path} says '{unknown[0]}', which this postq does not know.",
            hint="Open the bundle with the postq version that wrote it, or train it again with this one.",
        )
    return BundleUnusable(f"{MANIFEST} of {path} is not a bundle manifest.", hint=HINT)


def _check_versions(manifest: Manifest) -> None:
    if manifest.format != FORMAT_VERSION or manifest.preprocessing != PREPROCESSING_VERSION:
        raise BundleUnusable(
            f"The bundle is of format {manifest.format}, preprocessing {manifest.preprocessing}; this postq "
            f"reads format {FORMAT_VERSION}, preprocessing {PREPROCESSING_VERSION}.",
            hint="Use the postq version that wrote it, or train again.",
        )


def _check_listing(path: Path, manifest: Manifest) -> None:
    listed = [entry.path for entry in manifest.files]
    if len(listed) > MAX_FILES or len(set(listed)) != len(listed):
        raise BundleUnusable(f"{MANIFEST} of {path} lists too many files or one twice.", hint=HINT)
    for name in listed:
        _check_name(name)
    present = {entry.relative_to(path).as_posix() for entry in _walk(path)}
    for name in sorted(present ^ {*listed, MANIFEST}):
        state = "is missing from" if name in listed or name == MANIFEST else "does not belong in"
        raise BundleUnusable(f"{name} {state} the bundle at {path}.", hint=HINT)


def _check_name(name: str) -> None:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name or parts.as_posix() != name:
        raise BundleUnusable(f"{MANIFEST} names a file outside the bundle: {name!r}.", hint=HINT)
    if parts.suffix.lower() not in ALLOWED_SUFFIXES:
        raise BundleUnusable(
            f"{name} is of a kind that could run code when loaded; bundles hold data only.", hint=HINT
        )


def _walk(path: Path) -> list[Path]:
    found = []
    for entry in path.rglob("*"):
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            raise BundleUnusable(f"{entry.name} in {path} is a link or a special file.", hint=HINT)
        if entry.is_file():
            found.append(entry)
        if len(found) > MAX_FILES:
            raise BundleUnusable(f"{path} holds more than {MAX_FILES} files.", hint=HINT)
    return found


def _check_contents(path: Path, manifest: Manifest) -> None:
    for entry in manifest.files:
        # Sizes are compared before hashing, so that a swapped huge file costs nothing.
        if (path / entry.path).stat().st_size != entry.bytes or (
            describe_file(path / entry.path, name=entry.path) != entry
        ):
            raise DigestMismatch(f"{entry.path} in {path} is not the file its manifest describes.", hint=HINT)


def _check_no_remote_code(path: Path) -> None:
    for name in ("config.json", "tokenizer_config.json"):
        if (path / name).exists() and "auto_map" in _read_json(path / name, limit=MAX_JSON_BYTES):
            raise BundleUnusable(f"{name} in {path} asks to run code of its own.", hint=HINT)


def _read_labels(path: Path) -> tuple[str, ...]:
    labels = _read_json(path / LABELS, limit=MAX_JSON_BYTES)
    usable = isinstance(labels, list) and labels and all(isinstance(label, str) for label in labels)
    if not usable or len(set(labels)) != len(labels):
        raise BundleUnusable(f"{LABELS} of {path} is not a list of distinct label names.", hint=HINT)
    return tuple(labels)


def _read_thresholds(path: Path) -> ThresholdSet:
    try:
        return ThresholdSet.model_validate(_read_json(path / THRESHOLDS, limit=MAX_JSON_BYTES))
    except ValidationError as exc:
        raise BundleUnusable(f"{THRESHOLDS} of {path} does not hold thresholds.", hint=HINT) from exc


def _read_json(path: Path, *, limit: int) -> Any:
    try:
        if path.is_symlink() or path.stat().st_size > limit:
            raise BundleUnusable(f"{path.name} is a link or larger than {limit} bytes.", hint=HINT)
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise BundleUnusable(f"{path.parent} has no {path.name}.", hint=HINT) from exc
    except (OSError, ValueError, RecursionError) as exc:
        raise BundleUnusable(f"{path.name} of {path.parent} cannot be read as JSON.", hint=HINT) from exc
