"""A training runs on the devices its job asked for, of those the worker that took it has."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from postq.contracts.device import Device
from postq.contracts.specs import TrainSpec, job_spec
from postq.learning import training
from postq.learning.bundle import open_bundle
from postq.learning.hooks import Hooks
from postq.tasks import train
from postq.tasks.resident import Resident
from tests.unit.tasks.conftest import Heard, MakeRequest, TrainedBundle, train_spec

ONE = Device(kind="cpu", name="cpu", memory_bytes=2**33)
TWO = ONE.model_copy(update={"count": 2})


class Asked(Exception):
    """Ends the training where its device is known."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.device = device


def only_ask(*_: Any, device: Device, **__: Any) -> Any:
    raise Asked(device)


@pytest.mark.parametrize(
    ("devices", "worker", "processes"), [("one", ONE, 1), ("one", TWO, 1), ("all", ONE, 1), ("all", TWO, 2)]
)
def test_all_devices_are_those_the_worker_has(
    devices: Any,
    worker: Device,
    processes: int,
    make_request: MakeRequest,
    snapshot: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "train_bundle", only_ask)
    spec = train_spec().model_copy(update={"devices": devices})
    request = make_request(spec, snapshot).model_copy(update={"device": worker})
    with pytest.raises(Asked) as asked:
        train.run(request, spec, hooks=Hooks(), resident=Resident())
    assert asked.value.device.count == processes


@pytest.mark.parametrize(
    ("devices", "worker", "told"), [("all", ONE, True), ("all", TWO, False), ("one", ONE, False)]
)
def test_a_training_for_all_devices_that_got_one_says_so(
    devices: Any,
    worker: Device,
    told: Any,
    make_request: MakeRequest,
    snapshot: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "train_bundle", only_ask)
    spec = train_spec().model_copy(update={"devices": devices})
    request = make_request(spec, snapshot).model_copy(update={"device": worker})
    notes: dict[str, str] = {}
    hooks = Hooks(note=lambda event, message, _: notes.update({event: message}))
    with pytest.raises(Asked):
        train.run(request, spec, hooks=hooks, resident=Resident())
    assert ("devices" in notes) is told
    assert not told or "cpu is all that this worker owns" in notes["devices"]


def test_a_spec_from_before_the_question_means_one_device() -> None:
    stored = train_spec().model_dump(mode="json")
    del stored["devices"]
    read = job_spec.validate_python(stored)
    assert isinstance(read, TrainSpec)
    assert read.devices == "one"
    assert job_spec.validate_python({**stored, "devices": "all"}).model_dump()["devices"] == "all"


def test_a_training_that_ends_in_a_damaged_bundle_makes_it_whole(
    bundle: TrainedBundle, make_request: MakeRequest, snapshot: Path, tmp_path: Path
) -> None:
    # Given the bundle of an equal training in its place, with a file that was damaged since
    place = tmp_path / "bundles" / f"{bundle.on_disk.digest}-0ddba11a"
    shutil.copytree(bundle.on_disk.path, place)
    (place / "labels.json").write_text("[]")
    # When the training is done again
    request = make_request(train_spec(), snapshot, bundles=place.parent, extra={"corpus": "opinions v1"})
    heard = Heard()
    result = train.run(request, train_spec(), hooks=heard.hooks(), resident=Resident())
    # Then the folder is whole, and somebody is told
    assert result["facts"]["digest"] == bundle.on_disk.digest
    assert open_bundle(place, expected_digest=bundle.on_disk.digest)
    assert heard.events("bundle") == [
        "This very bundle was here already, and damaged: its folder is whole again."
    ]
