"""An encoder's bundle goes the same way as any other: trained, written, opened, scored."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from postq.contracts.recipes import EncoderRecipe
from postq.errors import DigestMismatch
from postq.learning.bundle.bundle import Bundle
from postq.learning.bundle.opening import open_bundle
from postq.learning.encoder.scoring.scorer import EncoderScorer
from postq.learning.hooks import Hooks, StopRequested
from postq.learning.scoring import load_scorer
from postq.learning.training import train_bundle
from tests.unit.learning.encoder.material import CPU, LABELS, opinions, training_data
from tests.unit.learning.encoder.recorder import Recorder

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


def test_a_resumed_training_fits_its_baseline_last_and_ends_the_same(
    recipe: EncoderRecipe, tmp_path: Path
) -> None:
    beside = recipe.model_copy(update={"baseline": True, "epochs": 1})
    # Given a training with a baseline that is stopped amid its epoch
    undisturbed, first, second = Recorder(), Recorder(), Recorder()
    train_bundle(beside, DATA, output=tmp_path / "whole", name="tiny", device=CPU, hooks=undisturbed.hooks)
    halfway = replace(first.hooks, should_stop=lambda: "training" in phases(first))
    options = {"output": tmp_path / "parts", "name": "tiny", "device": CPU}
    with pytest.raises(StopRequested):
        train_bundle(beside, DATA, hooks=halfway, checkpoints=tmp_path / "token-1", **options)
    assert phases(first).index("baseline fitting") < phases(first).index("training")
    # When another attempt goes on from its checkpoint
    newest = first.checkpoints[-1][0]
    train_bundle(beside, DATA, hooks=second.hooks, resume_from=newest, **options)
    # Then the hours come first and the minutes last, and the bundle is the undisturbed one
    assert phases(second).index("training") < phases(second).index("baseline fitting")
    assert open_bundle(tmp_path / "parts").digest == open_bundle(tmp_path / "whole").digest


def phases(told: Recorder) -> list[str]:
    """The phases told of, each once, in order."""
    return list(dict.fromkeys(phase for phase, *_ in told.progress))


def test_a_changed_weight_is_noticed_before_loading(recipe: EncoderRecipe, tmp_path: Path) -> None:
    trained_into(tmp_path / "bundle", recipe)
    weights = tmp_path / "bundle" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DigestMismatch, match=r"model\.safetensors"):
        open_bundle(tmp_path / "bundle")
