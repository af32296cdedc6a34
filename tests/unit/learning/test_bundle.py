"""Bundles are written whole or not at all, and nothing is trusted that their manifest does not vouch for."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from postq.contracts.recipes import TfidfRecipe
from postq.errors import BundleUnusable, Conflict, DigestMismatch, IntegrityError, StorageUnavailable
from postq.learning.bundle import Bundle, fingerprint, mend, open_bundle, write_bundle
from postq.learning.bundle.manifest import MANIFEST, Manifest, describe_file, model_digest
from postq.learning.bundle.score_file import ScoredPart, read_scores
from postq.learning.bundle.split_file import read_split
from postq.learning.data import SplitEntry
from postq.learning.thresholds.threshold_set import LabelThreshold, ThresholdSet

THRESHOLDS = ThresholdSet(
    method="half",
    score_space="sigmoid",
    tuned_on="nothing",
    documents=0,
    global_threshold=0.5,
    labels=tuple(
        LabelThreshold(label=label, threshold=0.5, source="half", positives=1) for label in ("a", "b")
    ),
)
SPLIT = [SplitEntry(document_id="one", content_hash=b"\x01" * 16, cluster=4, split="train")]


def write(folder: Path, **changes: Any) -> Bundle:
    values: dict[str, Any] = {
        "kind": "tfidf",
        "name": "small",
        "labels": ("a", "b"),
        "thresholds": THRESHOLDS,
        "split": SPLIT,
        "metrics": {"format": 1},
        "recipe": TfidfRecipe(),
        "corpus": "opinions@1",
        "write_model_files": lambda folder: (folder / "model.safetensors").write_bytes(b"weights") and None,
    }
    return write_bundle(folder, **(values | changes))


def rewrite_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest as a forger would: both digests made right again."""
    raw = json.loads((folder / MANIFEST).read_text())
    change(raw)
    manifest = Manifest.model_validate(raw)
    forged = model_digest(manifest.files, kind=manifest.kind, recipe=manifest.recipe)
    manifest = manifest.model_copy(update={"model_digest": forged})
    (folder / MANIFEST).write_text(manifest.sealed().model_dump_json())


def list_again(folder: Path) -> None:
    """List every file that now lies in the folder, as a forger would."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    files = [describe_file(folder / name, name=name).model_dump() for name in names if name != MANIFEST]
    rewrite_manifest(folder, lambda raw: raw.update(files=files))


def test_what_was_written_is_what_is_opened(tmp_path: Path) -> None:
    written = write(tmp_path / "bundle")
    opened = open_bundle(tmp_path / "bundle", expected_digest=written.digest)
    assert opened == written
    assert opened.thresholds.model_digest == opened.model_digest
    assert read_split(opened.path) == SPLIT
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_equal_trainings_give_equal_digests_and_fingerprints(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one"), write(tmp_path / "two")
    assert one.digest == two.digest
    assert fingerprint(one) == fingerprint(two)
    assert len(fingerprint(one)) == 16


def test_the_fingerprint_changes_with_weights_and_thresholds_but_not_with_the_report(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain")
    reported = write(tmp_path / "reported", metrics={"more": 1})
    assert reported.digest != plain.digest
    assert fingerprint(reported) == fingerprint(plain)
    heavier = write(
        tmp_path / "heavier",
        write_model_files=lambda folder: (folder / "model.safetensors").write_bytes(b"other!!") and None,
    )
    assert fingerprint(heavier) != fingerprint(plain)
    lower = THRESHOLDS.labels[0].model_copy(update={"threshold": 0.4})
    moved = plain.thresholds.model_copy(update={"labels": (lower, THRESHOLDS.labels[1])})
    assert fingerprint(plain, thresholds=moved) != fingerprint(plain)


def test_another_bundle_than_the_expected_one_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "bundle")
    with pytest.raises(DigestMismatch, match="not the one asked for"):
        open_bundle(tmp_path / "bundle", expected_digest="0" * 64)


@pytest.mark.parametrize("name", ["model.safetensors", "labels.json", "thresholds.json", "split.parquet"])
def test_a_changed_file_is_refused_even_at_equal_size(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "bundle").path
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(DigestMismatch, match=name):
        open_bundle(folder)


def test_a_changed_manifest_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle").path
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"name": "other"}))
    with pytest.raises(DigestMismatch, match="changed after it was written"):
        open_bundle(folder)


def test_missing_and_added_files_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle").path
    (folder / "extra.json").write_text("{}")
    with pytest.raises(BundleUnusable, match=r"extra\.json does not belong"):
        open_bundle(folder)
    (folder / "extra.json").unlink()
    (folder / "labels.json").unlink()
    with pytest.raises(BundleUnusable, match=r"labels\.json is missing"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["weights.pkl", "pytorch_model.bin", "modeling.py", "native.so", "x.zip"])
def test_files_that_could_run_code_are_refused_even_when_listed(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "bundle").path
    (folder / name).write_bytes(b"x")
    list_again(folder)
    with pytest.raises(BundleUnusable, match="could run code"):
        open_bundle(folder)


def test_a_config_that_asks_for_remote_code_is_refused(tmp_path: Path) -> None:
    config = json.dumps({"auto_map": {"AutoModel": "evil.Model"}})
    folder = write(
        tmp_path / "bundle", write_model_files=lambda at: (at / "config.json").write_text(config) and None
    ).path
    with pytest.raises(BundleUnusable, match="run code of its own"):
        open_bundle(folder)


@pytest.mark.parametrize("name", ["../outside.json", "/etc/passwd.json", "a/../../b.json", "a\\b.json"])
def test_names_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / "bundle").path
    entry = {"path": name, "bytes": 1, "sha256": "0" * 64}
    rewrite_manifest(folder, lambda raw: raw["files"].append(entry))
    with pytest.raises(BundleUnusable, match="outside the bundle"):
        open_bundle(folder)


def test_links_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle").path
    weights = folder / "model.safetensors"
    weights.rename(tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleUnusable, match="link"):
        open_bundle(folder)
    (tmp_path / "alias").symlink_to(folder)
    with pytest.raises(BundleUnusable, match="not a bundle folder"):
        open_bundle(tmp_path / "alias")


def test_a_huge_manifest_is_refused_before_it_is_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle").path
    with (folder / MANIFEST).open("r+b") as stream:
        stream.truncate(100 * 2**30)  # sparse: claims 100 GB, holds nothing
    with pytest.raises(BundleUnusable, match="larger than"):
        open_bundle(folder)


def test_a_huge_file_is_refused_by_its_size_before_it_is_hashed(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle").path
    with (folder / "model.safetensors").open("r+b") as stream:
        stream.truncate(100 * 2**30)
    with pytest.raises(DigestMismatch, match="model"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"format": 1}', "\ud800".encode("utf-8", "ignore").decode()]
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    folder = write(tmp_path / "bundle").path
    (folder / MANIFEST).write_text(content)
    with pytest.raises(BundleUnusable):
        open_bundle(folder)


def test_an_absent_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleUnusable):
        open_bundle(tmp_path / "nothing")


def test_a_folder_that_may_not_be_read_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "is_symlink", refuse)
    with pytest.raises(BundleUnusable, match="nobody's cannot be read: Permission denied"):
        open_bundle(tmp_path / "nobody's")


def test_another_format_version_is_refused_with_both_numbers(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle").path
    rewrite_manifest(folder, lambda raw: raw.update(format=99))
    with pytest.raises(BundleUnusable, match="format 99"):
        open_bundle(folder)


def test_thresholds_of_another_model_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "bundle").path
    foreign = THRESHOLDS.bound_to("0" * 64)
    (folder / "thresholds.json").write_text(foreign.model_dump_json())
    list_again(folder)
    with pytest.raises(IntegrityError, match="another model"):
        open_bundle(folder)


def test_an_existing_bundle_is_never_overwritten(tmp_path: Path) -> None:
    write(tmp_path / "bundle")
    with pytest.raises(Conflict):
        write(tmp_path / "bundle")


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half.safetensors").write_bytes(b"x")
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageUnavailable, match="No space left"):
        write(tmp_path / "bundle", write_model_files=fail)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_said_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageUnavailable):
        write(tmp_path / "bundle")


def spoil(place: Path) -> None:
    (place / "labels.json").write_text("[]")


@pytest.mark.parametrize(
    "damage",
    [spoil, lambda place: (place / MANIFEST).unlink(), lambda place: (place / "more.json").write_text("1")],
)
def test_a_damaged_copy_is_replaced_by_a_whole_one(damage: Callable[[Path], Any], tmp_path: Path) -> None:
    sound, copy = write(tmp_path / "sound"), write(tmp_path / "copy")
    damage(copy.path)
    assert mend(copy.path, sound)
    assert open_bundle(copy.path, expected_digest=sound.digest).labels == sound.labels
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "sound"]


def test_a_whole_copy_stays_and_none_is_made_where_none_was(tmp_path: Path) -> None:
    sound, copy = write(tmp_path / "sound"), write(tmp_path / "copy")
    before = copy.path.stat().st_ino
    assert not mend(copy.path, sound)
    assert copy.path.stat().st_ino == before
    assert not mend(tmp_path / "none", sound)
    assert not (tmp_path / "none").exists()


def test_whoever_opens_a_copy_while_it_is_mended_finds_no_half_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound, copy = write(tmp_path / "sound"), write(tmp_path / "copy")
    spoil(copy.path)
    seen: list[set[str] | None] = []
    rename = Path.rename

    def watched(path: Path, target: Path) -> Path:
        moved = rename(path, target)
        seen.append({file.name for file in copy.path.iterdir()} if copy.path.exists() else None)
        return moved

    monkeypatch.setattr(Path, "rename", watched)
    assert mend(copy.path, sound)
    assert all(names in (None, {file.name for file in sound.path.iterdir()}) for names in seen)
    assert seen[-1] is not None


def test_a_copy_that_somebody_else_mends_at_the_same_moment_is_left_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound, copy = write(tmp_path / "sound"), write(tmp_path / "copy")
    spoil(copy.path)
    rename = Path.rename

    def overtaken(path: Path, target: Path) -> Path:
        moved = rename(path, target)
        if path == copy.path:
            write(copy.path)
        return moved

    monkeypatch.setattr(Path, "rename", overtaken)
    assert not mend(copy.path, sound)
    assert open_bundle(copy.path, expected_digest=sound.digest)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "sound"]


def test_a_damaged_copy_that_may_not_be_replaced_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound, copy = write(tmp_path / "sound"), write(tmp_path / "copy")
    spoil(copy.path)
    rename = Path.rename

    def deny(path: Path, target: Path) -> Path:
        if path == copy.path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", deny)
    with pytest.raises(StorageUnavailable, match="could not be replaced: Permission denied"):
        mend(copy.path, sound)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "sound"]


def test_scores_and_truths_are_kept_and_read_back(tmp_path: Path) -> None:
    part = ScoredPart(
        part="test",
        model="main",
        document_ids=["x", "y", "z"],
        word_counts=np.array([3, 4, 5]),
        truth=np.array([[True, False], [False, False], [True, True]]),
        scores=np.array([[0.3, 0.1], [0.2, 0.9], [0.7, 0.5]], np.float32),
    )
    folder = write(tmp_path / "bundle", scores=[part]).path
    read = read_scores(folder)[("main", "test")]
    assert read.document_ids == part.document_ids
    assert np.array_equal(read.truth, part.truth)
    assert np.array_equal(read.scores, part.scores)
    assert np.array_equal(read.word_counts, part.word_counts)


def test_a_bundle_without_scores_reads_back_none(tmp_path: Path) -> None:
    assert read_scores(write(tmp_path / "bundle").path) == {}


def test_the_model_card_has_the_front_matter_of_the_hub(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "bundle",
        metrics={
            "comparison": [
                {"model": "small", "split": "test", "thresholds": "half", "micro_f1": 0.5, "macro_f1": 0.25}
            ]
        },
    ).path
    _, front, body = (folder / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front)["pipeline_tag"] == "text-classification"
    assert "| small | half | 0.500 | 0.250 |" in body
