"""New thresholds come from stored scores alone: the model stays, figures and fingerprint follow."""

import json
from pathlib import Path

import numpy as np
import pytest

from postq.contracts.device import Device
from postq.contracts.recipes import TfidfRecipe
from postq.errors import IntegrityError, LabelSetMismatch, NotTrainable
from postq.learning.bundle import Bundle, fingerprint, open_bundle
from postq.learning.bundle.manifest import MANIFEST
from postq.learning.bundle.score_file import read_scores
from postq.learning.evaluation import evaluate_bundle
from postq.learning.hooks import Hooks
from postq.learning.rejudging import read_metrics
from postq.learning.rethresholding import rethreshold_bundle
from postq.learning.thresholds.tuning import tune_thresholds
from postq.learning.training import train_bundle
from tests.unit.learning.opinions import training_data

CPU = Device(kind="cpu", name="cpu", memory_bytes=2**33)
RECIPE = TfidfRecipe(regularisation=(4.0,), folds=3, max_features=500)
DATA = training_data(train=90, validation=40, test=40, labels=4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("trained") / "bundle"
    train_bundle(RECIPE, DATA, output=folder, name="small", device=CPU, hooks=Hooks())
    return open_bundle(folder)


def test_the_model_stays_and_the_fingerprint_follows_the_thresholds(trained: Bundle, tmp_path: Path) -> None:
    new = rethreshold_bundle(trained, method="half", name="small-half", output=tmp_path / "new")
    assert open_bundle(tmp_path / "new", expected_digest=new.digest) == new
    assert new.model_digest == trained.model_digest
    assert new.digest != trained.digest
    assert fingerprint(new) != fingerprint(trained)
    assert set(new.thresholds.values) == {0.5}
    assert (new.name, new.thresholds.tuned_on) == ("small-half", "nothing")
    assert read_metrics(new)["parent"]["digest"] == trained.digest


def test_thresholds_are_those_the_tuning_scores_give(trained: Bundle, tmp_path: Path) -> None:
    new = rethreshold_bundle(trained, method="bagged", name="small-bagged", output=tmp_path / "new")
    stored = read_scores(trained.path)[("main", "tuning")]
    by_hand = tune_thresholds(
        stored.truth,
        stored.scores,
        labels=trained.labels,
        method="bagged",
        score_space=trained.score_space,
        tuned_on="out_of_fold",
        seed=RECIPE.seed,
    )
    assert new.thresholds == by_hand.bound_to(trained.model_digest)


def test_figures_are_what_an_evaluation_of_the_new_bundle_would_say(trained: Bundle, tmp_path: Path) -> None:
    new = rethreshold_bundle(trained, method="global", name="small-global", output=tmp_path / "new")
    test = read_scores(trained.path)[("main", "test")]
    judged = evaluate_bundle(new, DATA.test, test.scores, seed=RECIPE.seed)
    reported = read_metrics(new)["test"]
    for track in ("all", "labelled"):
        assert (
            reported["tracks"][track]["default"]["micro_f1"] == judged["tracks"][track]["default"]["micro_f1"]
        )
    rows = {(row["split"], row["thresholds"]): row for row in read_metrics(new)["comparison"]}
    assert rows["test", "default"]["micro_f1"] == judged["tracks"]["all"]["default"]["micro_f1"]
    assert {row["model"] for row in rows.values()} == {"small-global"}
    supports = [row["training_support"] for row in reported["by_label"]]
    assert supports == [row["training_support"] for row in read_metrics(trained)["test"]["by_label"]]


def test_the_method_the_bundle_was_trained_with_gives_its_thresholds_back(
    trained: Bundle, tmp_path: Path
) -> None:
    new = rethreshold_bundle(trained, method=RECIPE.thresholds, name="again", output=tmp_path / "new")
    assert fingerprint(new) == fingerprint(trained)
    assert read_metrics(new)["test"] == read_metrics(trained)["test"]
    assert read_metrics(new)["tuning"] == read_metrics(trained)["tuning"]


def test_model_files_are_shared_and_the_parent_is_untouched(trained: Bundle, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in trained.path.iterdir()}
    new = rethreshold_bundle(trained, method="shrunk", name="small-shrunk", output=tmp_path / "new")
    weights = next(path for path in new.path.iterdir() if path.suffix == ".safetensors")
    assert weights.stat().st_ino == (trained.path / weights.name).stat().st_ino
    assert {path.name: path.read_bytes() for path in trained.path.iterdir()} == before


def test_new_thresholds_can_be_tuned_again(trained: Bundle, tmp_path: Path) -> None:
    once = rethreshold_bundle(trained, method="half", name="half", output=tmp_path / "once")
    back = rethreshold_bundle(once, method=RECIPE.thresholds, name="back", output=tmp_path / "back")
    assert fingerprint(back) == fingerprint(trained)


def test_a_bundle_without_scores_is_refused(trained: Bundle, tmp_path: Path) -> None:
    bare = trained.__class__(
        **{name: getattr(trained, name) for name in trained.__slots__} | {"path": tmp_path}  # type: ignore[attr-defined]
    )
    (tmp_path / "metrics.json").write_text(json.dumps(read_metrics(trained)))
    with pytest.raises(NotTrainable, match="keeps no scores"):
        rethreshold_bundle(bare, method="half", name="half", output=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_thresholds_of_another_model_space_or_label_set_are_refused(trained: Bundle) -> None:
    fits = {
        "labels": trained.labels,
        "score_space": trained.score_space,
        "model_digest": trained.model_digest,
    }
    trained.thresholds.require_match(**fits)  # type: ignore[arg-type]
    with pytest.raises(LabelSetMismatch):
        trained.thresholds.require_match(**{**fits, "labels": ("other",)})  # type: ignore[arg-type]
    for wrong in ({"score_space": "sigmoid-debiased"}, {"model_digest": "0" * 64}):
        with pytest.raises(IntegrityError):
            trained.thresholds.require_match(**{**fits, **wrong})  # type: ignore[arg-type]
    assert MANIFEST in {path.name for path in trained.path.iterdir()}
    assert np.isfinite(trained.thresholds.values).all()
