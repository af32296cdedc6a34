"""The labelled corpora beside the checkout as snapshots, split as a training job splits them."""

import os
from datetime import UTC, datetime
from pathlib import Path

from postq.contracts.device import Device
from postq.contracts.recipes import EncoderRecipe, TfidfRecipe
from postq.contracts.runner import RunRequest
from postq.contracts.specs import TrainSpec
from postq.corpus.location import Input
from postq.corpus.snapshot import read_documents, read_keys
from postq.corpus.snapshot_writer import write_snapshot
from postq.corpus.source import read_source
from postq.learning.data import TrainingData
from postq.learning.hooks import Hooks
from postq.tasks.training_data import training_data

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(os.environ.get("POSTQ_TEST_CORPORA", ROOT.parent / "shared" / "data"))
CORPORA = ("reuters21578", "fca_catchphrases")
FILES = {"train": "train.jsonl.gz", "validation": "val.jsonl.gz", "test": "test.jsonl.gz"}


def require_corpora() -> None:
    """End with a sentence when the corpora are missing."""
    missing = [name for name in CORPORA if not (FOLDER / name).is_dir()]
    if missing:
        raise SystemExit(f"This benchmark needs the labelled corpora {', '.join(missing)} in {FOLDER.name}/.")


def snapshot(name: str, folder: Path) -> Path:
    """Write the snapshot of a corpus with its own split below `folder`, unless it lies there already."""
    target = folder / name
    if not target.exists():
        inputs = [
            Input(path=str(FOLDER / name / file), split=split)  # type: ignore[arg-type]
            for split, file in FILES.items()
        ]
        write_snapshot(read_source(inputs), target, sources=list(FILES.values()), created=datetime.now(UTC))
    return target


def split_corpus(name: str, folder: Path, recipe: TfidfRecipe | EncoderRecipe) -> TrainingData:
    """What a training job by `recipe` would train, tune and test on."""
    place = snapshot(name, folder)
    request = RunRequest(
        job_id=1,
        shard_id=1,
        token=1,
        spec=TrainSpec(corpus_id=1, bundle_name=name, recipe=recipe),
        snapshot=place,
        start_row=0,
        stop_row=len(read_keys(place)),
        device=Device(kind="cpu"),
        output=folder,
    )
    return training_data(request, recipe, corpus=f"{name}@1", hooks=Hooks())


__all__ = ["CORPORA", "read_documents", "require_corpora", "snapshot", "split_corpus"]
