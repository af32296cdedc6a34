"""Training checkpoints: complete or absent, verified before use, nothing executable inside."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from postq.crash_points import CrashPoint, reach
from postq.errors import DigestMismatch, StorageUnavailable

MANIFEST = "manifest.json"
STATE = "state.json"
REQUIRED = {STATE, "weights.safetensors", "optimizer.safetensors", "random.safetensors"}
PREFIX = "checkpoint-"
FORMAT = 1

TensorFiles = Mapping[str, dict[str, Tensor]]
"""File stem -> tensors by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint read back and verified."""

    path: Path
    values: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]]
    """File stem -> tensors by name."""


def write_checkpoint(
    folder: Path,
    *,
    number: int,
    values: Mapping[str, Any],
    tensors: TensorFiles,
    shared: Mapping[str, Path] | None = None,
) -> Path:
    """Write checkpoint `number` under `folder` and return its path.

    Everything goes to a temporary folder first; each file is flushed to disk, the manifest with the digests
    comes last, and one rename makes the checkpoint appear. `shared` files (stem -> existing file) are linked
    instead of written again. Raises StorageUnavailable when the disk refuses.
    """
    target = folder / f"{PREFIX}{number:06d}"
    partial = folder / f".partial-{number:06d}"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for stem, contents in tensors.items():
            save_file(contents, partial / f"{stem}.safetensors")
        for stem, source in (shared or {}).items():
            _link(source, partial / f"{stem}.safetensors")
        (partial / STATE).write_text(json.dumps(values), encoding="utf-8")
        files = {path.name: _digest(path) for path in sorted(partial.iterdir())}
        for name in files:
            _flush(partial / name)
        (partial / MANIFEST).write_text(json.dumps({"format": FORMAT, "files": files}), encoding="utf-8")
        _flush(partial / MANIFEST)
        _flush(partial)
        shutil.rmtree(target, ignore_errors=True)
        reach(CrashPoint.BEFORE_CHECKPOINT_RENAME)
        partial.rename(target)
        _flush(folder)
        reach(CrashPoint.AFTER_CHECKPOINT_RENAME)
    except (OSError, SafetensorError) as exc:
        shutil.rmtree(partial, ignore_errors=True)
        raise StorageUnavailable(
            f"The checkpoint could not be written to {folder}: {exc}.",
            hint="Free space or choose a writable folder, then retry the job.",
        ) from exc
    return target


def read_checkpoint(path: Path) -> Checkpoint:
    """Verify every file against the manifest and load it; raises DigestMismatch saying what is wrong."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        files: dict[str, str] = manifest["files"]
        if absent := REQUIRED - files.keys():
            raise _refused(path, f"its manifest does not list {', '.join(sorted(absent))}")
        for name, digest in files.items():
            if _digest(path / name) != digest:
                raise _refused(path, f"{name} does not match its digest")
        values = json.loads((path / STATE).read_text(encoding="utf-8"))
        stems = [name.removesuffix(".safetensors") for name in files if name.endswith(".safetensors")]
        tensors = {stem: load_file(path / f"{stem}.safetensors") for stem in stems}
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as exc:
        raise _refused(path, f"it is incomplete ({exc})") from exc
    return Checkpoint(path=path, values=values, tensors=tensors)


def earlier_checkpoints(path: Path) -> Iterator[Path]:
    """`path` itself, then older checkpoints of the same training, newest first.

    A training that changed hands has one folder per holder, so the neighbouring folders are searched too.
    """
    yield path
    number = checkpoint_number(path)
    found = {*path.parent.glob(f"{PREFIX}*"), *path.parent.parent.glob(f"*/{PREFIX}*")}
    for other in sorted(found, key=checkpoint_number, reverse=True):
        if other != path and checkpoint_number(other) < number:
            yield other


def checkpoint_number(path: Path) -> int:
    """The running number in a checkpoint's name; -1 for anything else."""
    digits = path.name.removeprefix(PREFIX)
    return int(digits) if digits.isdigit() else -1


def prune_checkpoints(folder: Path, *, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints of a folder."""
    for path in sorted(folder.glob(f"{PREFIX}*"), key=checkpoint_number)[:-keep]:
        shutil.rmtree(path, ignore_errors=True)


def _refused(path: Path, reason: str) -> DigestMismatch:
    return DigestMismatch(
        f"The checkpoint {path.name} cannot be trusted: {reason}.",
        hint="Resume from an earlier one, or start the training anew.",
    )


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
