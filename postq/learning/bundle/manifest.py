"""The manifest of a bundle: every file with its size and hash, what the model is, and the digests."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from postq.contracts.recipes import BundleRecipe, bundle_recipe
from postq.contracts.record import Record

FORMAT_VERSION = 1
"""Raised when the folder's layout changes in a way older code cannot read."""
PREPROCESSING_VERSION = 1
"""Raised when normalisation or tokenisation of text changes what a model sees."""

MANIFEST = "manifest.json"
LABELS = "labels.json"
THRESHOLDS = "thresholds.json"
SPLIT = "split.parquet"
SCORES = "scores.parquet"
METRICS = "metrics.json"
CARD = "README.md"
MEMBERS = "members"
"""Below an ensemble's folder; holds each member's whole folder, named by its position."""
DESCRIPTIVE_FILES = frozenset({MANIFEST, THRESHOLDS, SPLIT, SCORES, METRICS, CARD})
"""Files that do not change a document's scores; all others make up the model digest."""

BundleKind = Literal["tfidf", "encoder", "ensemble"]


class ManifestFile(Record):
    """One file of the bundle."""

    path: str
    """Relative to the folder, with forward slashes."""
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(Record):
    """What the bundle is and what each of its files must hash to."""

    format: int = FORMAT_VERSION
    preprocessing: int = PREPROCESSING_VERSION
    kind: BundleKind
    name: str
    corpus: str
    score_space: str
    recipe: dict[str, Any]
    """How the bundle came about, as it was written. Digests are taken over this, never over the record read
    from it, to which a newer postq adds the defaults of options the bundle's time did not know."""
    versions: dict[str, str] = {}
    files: tuple[ManifestFile, ...]
    model_digest: str
    digest: str = ""
    """SHA-256 over this manifest without this field."""

    def sealed(self) -> "Manifest":
        """This manifest with its digest filled in."""
        return self.model_copy(update={"digest": manifest_digest(self.model_dump(mode="json"))})

    def parsed_recipe(self) -> BundleRecipe:
        """The recipe with today's defaults for what it does not say. Raises pydantic's ValidationError."""
        return bundle_recipe.validate_python(self.recipe)


def manifest_digest(stored: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over the canonical JSON of a stored manifest without its digest field."""
    return canonical_digest({key: value for key, value in stored.items() if key != "digest"})


def model_digest(files: tuple[ManifestFile, ...], *, kind: str, recipe: Mapping[str, Any]) -> str:
    """SHA-256 (hex) over all that decides a score: model files, labels, recipe as stored, preprocessing."""
    decisive = [
        entry.model_dump(include={"path", "bytes", "sha256"})
        for entry in files
        if entry.path not in DESCRIPTIVE_FILES
    ]
    return canonical_digest(
        {
            "files": decisive,
            "kind": kind,
            "recipe": recipe,
            "preprocessing": PREPROCESSING_VERSION,
        }
    )


def canonical_digest(value: Any) -> str:
    """SHA-256 (hex) of sorted, compact, ASCII JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def describe_files(
    folder: Path, *, without: frozenset[str] = frozenset({MANIFEST})
) -> tuple[ManifestFile, ...]:
    """Size and hash of every file under `folder`, sorted by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    named = ((path.relative_to(folder).as_posix(), path) for path in paths)
    return tuple(describe_file(path, name=name) for name, path in named if name not in without)


def describe_file(path: Path, *, name: str) -> ManifestFile:
    """Size and SHA-256 of one file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return ManifestFile(path=name, bytes=path.stat().st_size, sha256=digest)
