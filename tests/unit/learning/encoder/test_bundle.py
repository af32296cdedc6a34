"""An encoder's bundle goes the same way as any other: trained, written, opened, scored."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from postq.contracts.recipes import EncoderRecipe
from postq.errors import DigestMismatch
from postq.learning.bundle.bundle import Bundle
from postq.learning.bundle.opening import open_bundle
from postq.learning.encoder.scorer import EncoderScorer
from postq.learning.hooks import Hooks
from postq.learning.scoring import load_scorer
from postq.learning.training import train_bundle
from tests.unit.learning.encoder.material import CPU, LABELS, opinions, training_data

DATA = replace(training_data(opinions(60), opinions(24, start=200)), test=opinions(24, start=300))


@pytest.fixture(scope="module")
def recipe(tiny_backbone: Path) -> EncoderRecipe:
    return EncoderRecipe(
        backbone=str(tiny_backbone), max_tokens=128, epochs=2, learning_rate=3e-3, baseline=False
    )


def trained_into(folder: Path, recipe: EncoderRecipe) -> Bundle:
    train_bundle(recipe, DATA, output=folder, name="tiny", device=CPU, hooks=Hooks())
    return open_bundle(folder)


@pytest.fixture(scope="module")
def bundle(recipe: EncoderRecipe, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return trained_into(tmp_path_factory.mktemp("bundles") / "tiny", recipe)


def test_the_bundle_loads_as_a_scorer_and_scores_every_document(bundle: Bundle) -> None:
    scorer = load_scorer(bundle, CPU)
    assert isinstance(scorer, EncoderScorer)
    assert scorer.labels == bundle.labels == LABELS
    rows = np.concatenate([batch.rows for batch in scorer.score(DATA.test, on_failure=pytest.fail)])
    assert sorted(rows.tolist()) == [document.row for document in DATA.test]


def test_thresholds_belong_to_the_score_space(bundle: Bundle) -> None:
    assert bundle.score_space == bundle.thresholds.score_space == "sigmoid"


def test_equal_trainings_write_equal_bundles(bundle: Bundle, recipe: EncoderRecipe, tmp_path: Path) -> None:
    assert trained_into(tmp_path / "again", recipe).digest == bundle.digest


def test_a_changed_weight_is_noticed_before_loading(recipe: EncoderRecipe, tmp_path: Path) -> None:
    trained_into(tmp_path / "bundle", recipe)
    weights = tmp_path / "bundle" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DigestMismatch, match=r"model\.safetensors"):
        open_bundle(tmp_path / "bundle")
