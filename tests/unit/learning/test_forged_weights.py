"""Weights whose header lies, listed in a manifest that vouches for them, are refused without the memory."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postq.contracts.device import Device
from postq.contracts.recipes import TfidfRecipe
from postq.errors import BundleUnusable
from postq.learning.bundle import open_bundle
from postq.learning.bundle.manifest import MANIFEST, Manifest, describe_file, model_digest
from postq.learning.hooks import Hooks
from postq.learning.scoring import load_scorer
from postq.learning.training import train_bundle
from tests.unit.learning.opinions import training_data

WEIGHTS = "model.safetensors"
GIGABYTE = 2**30


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    """A sound TF-IDF bundle."""
    recipe = TfidfRecipe(regularisation=(1.0,), folds=2)
    folder = tmp_path / "bundle"
    train_bundle(
        recipe, training_data(), output=folder, name="small", device=Device(kind="cpu"), hooks=Hooks()
    )
    return folder


def vouch_for(folder: Path) -> None:
    """Describe the files as they now are, as somebody would who makes a bundle to do harm."""
    raw = json.loads((folder / MANIFEST).read_text())
    raw["files"] = [
        describe_file(folder / one["path"], name=one["path"]).model_dump() for one in raw["files"]
    ]
    manifest = Manifest.model_validate(raw)
    digest = model_digest(manifest.files, kind=manifest.kind, recipe=manifest.recipe)
    manifest = manifest.model_copy(update={"model_digest": digest})
    (folder / MANIFEST).write_text(manifest.sealed().model_dump_json())
    thresholds = json.loads((folder / "thresholds.json").read_text())
    (folder / "thresholds.json").write_text(json.dumps({**thresholds, "model_digest": digest}))
    raw = json.loads((folder / MANIFEST).read_text())
    for one in raw["files"]:
        one.update(describe_file(folder / one["path"], name=one["path"]).model_dump())
    (folder / MANIFEST).write_text(Manifest.model_validate(raw).sealed().model_dump_json())


def change_header(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    change(header)
    encoded = json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(encoded)) + encoded + content[8 + length :])


def claim_a_long_header(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", 100 * GIGABYTE) + content[8:])


def claim_a_huge_tensor(folder: Path) -> None:
    huge = {"dtype": "F32", "shape": [25 * GIGABYTE], "data_offsets": [0, 100 * GIGABYTE]}
    change_header(folder, lambda header: header.update(coefficients=huge))


def claim_a_huge_shape_only(folder: Path) -> None:
    change_header(folder, lambda header: header["coefficients"].update(shape=[25 * GIGABYTE, 4]))


def claim_overlapping_tensors(folder: Path) -> None:
    change_header(folder, lambda header: header["idf"].update(header["coefficients"]))


def claim_overflowing_shapes(folder: Path) -> None:
    change_header(folder, lambda header: header["coefficients"].update(shape=[2**62, 2**62]))


def replace_by_a_pickle(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"\x80\x04cos\nsystem\n(S'touch owned'\ntR.")


def empty_it(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"")


@pytest.mark.parametrize(
    "forge",
    [
        claim_a_long_header,
        claim_a_huge_tensor,
        claim_a_huge_shape_only,
        claim_overlapping_tensors,
        claim_overflowing_shapes,
        replace_by_a_pickle,
        empty_it,
    ],
)
def test_weights_that_claim_what_they_do_not_hold_are_refused(
    bundle_folder: Path, forge: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    forge(bundle_folder)
    vouch_for(bundle_folder)
    bundle = open_bundle(bundle_folder)
    with pytest.raises(BundleUnusable, match="cannot be read"):
        load_scorer(bundle, device=Device(kind="cpu"))
    assert not (tmp_path / "owned").exists()


def test_a_bundle_that_was_vouched_for_again_unchanged_is_loaded(bundle_folder: Path) -> None:
    vouch_for(bundle_folder)
    load_scorer(open_bundle(bundle_folder), device=Device(kind="cpu"))
