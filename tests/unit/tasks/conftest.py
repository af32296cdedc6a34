"""A small labelled snapshot, a TF-IDF bundle trained on it, and requests about them."""

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from postq.contracts.device import Device
from postq.contracts.document import SplitName
from postq.contracts.recipes import LabelRecipe, TfidfRecipe
from postq.contracts.runner import BundleOnDisk, RunRequest
from postq.contracts.specs import ClassifySpec, EvaluateSpec, JobSpec, TrainSpec
from postq.corpus.location import Input
from postq.corpus.snapshot import write_snapshot
from postq.corpus.source import read_source
from postq.learning.hooks import Hooks
from postq.tasks import train
from postq.tasks.resident import Resident
from postq.tasks.train import BUNDLE_FOLDER

CPU = Device(kind="cpu", name="cpu", memory_bytes=2**33)
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
LABELS = ("appeal", "dismissal", "summary")
RECIPE = TfidfRecipe(
    regularisation=(1.0,),
    folds=2,
    max_features=2000,
    thresholds="half",
    labels=LabelRecipe(min_label_count=2),
)


@dataclass(frozen=True)
class Heard:
    """What a task told through its hooks."""

    phases: list[tuple[str, int, int]] = field(default_factory=list)
    notes: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def hooks(self, *, stop_in: str | None = None) -> Hooks:
        """Hooks that remember; with `stop_in` the task is asked to stop once it reached that phase."""
        return Hooks(
            progress=lambda phase, done, total, metrics: self.phases.append((phase, done, total)),
            note=lambda event, message, data: self.notes.append((event, message, dict(data))),
            should_stop=lambda: any(phase == stop_in for phase, _, _ in self.phases),
        )

    def events(self, kind: str) -> list[str]:
        return [message for event, message, _ in self.notes if event == kind]


def text_of(number: int, label: str | None) -> str:
    words = random.Random(number)
    filler = " ".join(f"w{words.randrange(400)}" for _ in range(40))
    return f"Matter {number} is heard. {filler} {' '.join([label or 'nothing'] * 4)}"


def record(
    number: int, *, label: str | None = "", text: str | None = None, identity: str | None = None
) -> dict[str, Any]:
    """One document; by default its label follows from its number, and its text from both."""
    name = LABELS[number % len(LABELS)] if label == "" else label
    return {
        "documentId": identity or f"op-{number}",
        "postures": [name] if name else [],
        "sections": [{"headtext": "", "paragraphs": [text or text_of(number, name)]}],
    }


MakeSnapshot = Callable[..., Path]


@pytest.fixture(scope="session")
def make_snapshot(tmp_path_factory: pytest.TempPathFactory) -> MakeSnapshot:
    """`make_snapshot(records, …, train=…, test=…)`: a snapshot; named arguments are official splits."""

    def make(records: Iterable[dict[str, Any]] = (), **splits: Iterable[dict[str, Any]]) -> Path:
        folder = tmp_path_factory.mktemp("corpus")
        inputs = []
        parts: list[tuple[SplitName | None, Sequence[dict[str, Any]]]] = [(None, list(records))]
        parts += [(name, list(some)) for name, some in splits.items()]  # type: ignore[misc]
        for split, some in parts:
            if some:
                file = folder / f"{split}.jsonl"
                file.write_text("\n".join(json.dumps(one) for one in some) + "\n")
                inputs.append(Input(path=str(file), split=split))
        place = folder / "snapshot"
        write_snapshot(read_source(inputs), place, sources=["test"], created=LONG_AGO)
        return place

    return make


@pytest.fixture(scope="session")
def snapshot(make_snapshot: MakeSnapshot) -> Path:
    """Sixty documents, three labels."""
    return make_snapshot([record(number) for number in range(60)])


MakeRequest = Callable[..., RunRequest]


@pytest.fixture
def make_request(tmp_path: Path) -> MakeRequest:
    """`make_request(spec, snapshot, stop_row=…, …)`: a request whose results go to a folder of this test."""

    def make(spec: JobSpec, snapshot: Path, *, stop_row: int = 60, **more: Any) -> RunRequest:
        output = tmp_path / "output"
        output.mkdir(exist_ok=True)
        fields: dict[str, Any] = {
            "job_id": 1,
            "shard_id": 1,
            "token": 1,
            "spec": spec,
            "snapshot": snapshot,
            "start_row": 0,
            "stop_row": stop_row,
            "device": CPU,
            "output": output,
        }
        return RunRequest(**{**fields, **more})

    return make


def train_spec(**changes: Any) -> TrainSpec:
    return TrainSpec(corpus_id=1, bundle_name="opinions", recipe=RECIPE.model_copy(update=changes))


@dataclass(frozen=True, kw_only=True)
class TrainedBundle:
    """A bundle on disk with what a request must say about it."""

    on_disk: BundleOnDisk
    fingerprint: str
    snapshot: Path

    @property
    def extra(self) -> dict[str, str]:
        return {"fingerprint": self.fingerprint, "training_snapshot": str(self.snapshot)}


@pytest.fixture(scope="session")
def bundle(snapshot: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedBundle:
    """Trained on the sixty documents by the task itself."""
    output = tmp_path_factory.mktemp("bundle")
    request = RunRequest(
        job_id=1,
        shard_id=1,
        token=1,
        spec=train_spec(),
        snapshot=snapshot,
        start_row=0,
        stop_row=60,
        device=CPU,
        output=output,
        extra={"corpus": "opinions v1"},
    )
    result = train.run(request, train_spec(), hooks=Hooks(), resident=Resident())
    return TrainedBundle(
        on_disk=BundleOnDisk(bundle_id=1, path=output / BUNDLE_FOLDER, digest=result["facts"]["digest"]),
        fingerprint=result["fingerprint"],
        snapshot=snapshot,
    )


def classify_spec() -> ClassifySpec:
    return ClassifySpec(corpus_id=1, bundle="1")


def evaluate_spec(**changes: Any) -> EvaluateSpec:
    return EvaluateSpec(corpus_id=1, bundle="1", **changes)
