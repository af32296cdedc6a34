"""Bundles outlive the options of their time: digests hold for what was written in a manifest."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postq.contracts.recipes import EncoderRecipe
from postq.errors import BundleUnusable, DigestMismatch
from postq.learning.bundle import Bundle, fingerprint, manifest, open_bundle, write_bundle
from postq.learning.bundle.manifest import MANIFEST, canonical_digest
from postq.learning.bundle.split_file import read_split

OLDER = Path(__file__).parent / "older_bundles"
"""As the code of 23 November 2026 wrote them, before encoders had a choice of heads."""
FINGERPRINTS = {
    "tfidf": "922f8b8fa7b2175c099c189ab3316514",
    "encoder": "6cddc847563acd979ff77416b2d6c98c",
    "ensemble": "526e0c2816a124164945152935b0b95b",
}
Recipe = dict[str, Any]


def copied(tmp_path: Path, kind: str = "encoder") -> Path:
    return Path(shutil.copytree(OLDER / kind, tmp_path / kind))


def reword(folder: Path, change: Callable[[Recipe], object], *, seal: bool) -> None:
    """Change the stored recipe; `seal` makes the manifest's own digest right again, as a forger would."""
    raw = json.loads((folder / MANIFEST).read_text())
    change(raw["recipe"])
    if seal:
        raw["digest"] = canonical_digest({key: value for key, value in raw.items() if key != "digest"})
    (folder / MANIFEST).write_text(json.dumps(raw))


def rewritten(bundle: Bundle, folder: Path, **changes: Any) -> Bundle:
    """The bundle's model written once more, as a rethresholding does."""
    values: dict[str, Any] = {
        "kind": bundle.kind,
        "name": "again",
        "labels": bundle.labels,
        "thresholds": bundle.thresholds,
        "split": read_split(bundle.path),
        "metrics": {"format": 1},
        "recipe": bundle.recipe,
        "corpus": bundle.manifest.corpus,
        "write_model_files": lambda at: (at / "model.safetensors").write_bytes(b"weights") and None,
    }
    return write_bundle(folder, **(values | changes))


@pytest.mark.parametrize("kind", FINGERPRINTS)
def test_a_bundle_of_an_older_version_opens_with_the_fingerprint_it_had(kind: str) -> None:
    stored = json.loads((OLDER / kind / MANIFEST).read_text())
    opened = open_bundle(OLDER / kind, expected_digest=stored["digest"])
    assert fingerprint(opened).hex() == FINGERPRINTS[kind]
    assert opened.manifest.recipe == stored["recipe"]


def test_an_option_of_a_later_time_is_at_its_default(tmp_path: Path) -> None:
    recipe = open_bundle(OLDER / "encoder").recipe
    assert isinstance(recipe, EncoderRecipe)
    assert (recipe.head, recipe.max_tokens) == ("pooled", 64)
    folder = rewritten(open_bundle(OLDER / "encoder"), tmp_path / "later").path
    before = fingerprint(open_bundle(folder))
    raw = json.loads((folder / MANIFEST).read_text())
    # As if the bundle had been written when there was no `prior_bias`.
    del raw["recipe"]["prior_bias"]
    _seal_as_written(folder, raw)
    opened = open_bundle(folder)
    assert isinstance(opened.recipe, EncoderRecipe)
    assert opened.recipe.prior_bias
    assert "prior_bias" not in opened.manifest.recipe
    assert fingerprint(opened) != before


def test_the_model_of_an_older_bundle_keeps_its_digest_under_new_thresholds(tmp_path: Path) -> None:
    raw = json.loads((OLDER / "tfidf" / MANIFEST).read_text())
    folder = copied(tmp_path, "tfidf")
    del raw["recipe"]["stop_words"]
    _seal_as_written(folder, raw)
    older = open_bundle(folder)
    again = rewritten(older, tmp_path / "again", stored_recipe=older.manifest.recipe)
    assert again.model_digest == older.model_digest
    assert fingerprint(again) == fingerprint(older)
    assert rewritten(older, tmp_path / "anew").model_digest != older.model_digest


@pytest.mark.parametrize("digest", ["left", "forged"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda recipe: recipe.update(max_tokens=4096), id="another value"),
        pytest.param(lambda recipe: recipe.update(head="pooled"), id="a default written out"),
        pytest.param(lambda recipe: recipe.pop("seed"), id="a default left out"),
        pytest.param(lambda recipe: recipe["split"].pop("seed"), id="a default left out below"),
    ],
)
def test_a_changed_recipe_is_refused(change: Callable[[Recipe], object], digest: str, tmp_path: Path) -> None:
    folder = copied(tmp_path)
    reword(folder, change, seal=digest == "forged")
    with pytest.raises(DigestMismatch, match="changed after it was written"):
        open_bundle(folder)


@pytest.mark.parametrize("digest", ["left", "forged"])
def test_an_option_this_version_does_not_know_is_refused_by_its_name(digest: str, tmp_path: Path) -> None:
    folder = copied(tmp_path)
    reword(folder, lambda recipe: recipe.update(rotary=True), seal=digest == "forged")
    with pytest.raises(BundleUnusable, match="'rotary', which this postq does not know") as refused:
        open_bundle(folder)
    assert "version that wrote it" in str(refused.value.hint)


def test_a_recipe_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    folder = copied(tmp_path, "tfidf")
    reword(folder, lambda recipe: recipe.update(regularisation=[float("nan")]), seal=False)
    with pytest.raises(BundleUnusable, match="not a bundle manifest"):
        open_bundle(folder)


def _seal_as_written(folder: Path, raw: dict[str, Any]) -> None:
    """Write `raw` as the whole manifest of a version that knew no other fields, thresholds bound to it."""
    found = manifest.Manifest.model_validate(raw)
    model = manifest.model_digest(found.files, kind=found.kind, recipe=raw["recipe"])
    thresholds = json.loads((folder / manifest.THRESHOLDS).read_text())
    (folder / manifest.THRESHOLDS).write_text(json.dumps(thresholds | {"model_digest": model}))
    files = manifest.describe_files(folder)
    raw |= {"model_digest": model, "files": [entry.model_dump() for entry in files]}
    raw["digest"] = manifest.manifest_digest(raw)
    (folder / MANIFEST).write_text(json.dumps(raw))
