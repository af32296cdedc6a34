"""What takes long to make is made once a run of the tests, and shared by all its processes."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from filelock import FileLock

Made = TypeVar("Made")


def folder_of_the_run(config: pytest.Config, factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run have in common."""
    own = factory.getbasetemp()
    folder = (own.parent if hasattr(config, "workerinput") else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def made_once(folder: Path, make: Callable[[Path], Made]) -> Made:
    """What `make` makes in `folder`: whoever asks first makes it, and the others wait and read it."""
    with FileLock(folder.with_suffix(".lock")):
        kept = folder / "made.pickle"
        if not kept.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a failed one left
            folder.mkdir()
            kept.write_bytes(pickle.dumps(make(folder)))
        made: Made = pickle.loads(kept.read_bytes())
        return made
