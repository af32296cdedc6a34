"""One procedure for every model: tuned, cross-fitted, judged on test, written with what a report needs."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from postq.contracts.device import Device
from postq.contracts.recipes import EncoderRecipe, TfidfRecipe, ThresholdMethod
from postq.errors import BundleUnusable, NotTrainable
from postq.learning import training
from postq.learning.bundle import open_bundle
from postq.learning.bundle.score_file import read_scores
from postq.learning.bundle.split_file import read_split
from postq.learning.hooks import Hooks
from postq.learning.labels import indicator_matrix
from postq.learning.thresholds.exact import micro_macro_thresholds
from postq.learning.training import train_bundle
from tests.unit.learning.opinions import training_data

CPU = Device(kind="cpu")
RECIPE = TfidfRecipe(regularisation=(1.0,), folds=3)


def train(folder: Path, data: Any = None, hooks: Hooks | None = None, **changes: object) -> dict[str, Any]:
    recipe = RECIPE.model_copy(update=changes)
    return train_bundle(
        recipe, data or training_data(), output=folder, name="small", device=CPU, hooks=hooks or Hooks()
    )


def metrics(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return found


def test_the_bundle_holds_model_split_thresholds_scores_and_figures(tmp_path: Path) -> None:
    data = training_data()
    summary = train(tmp_path / "b", data)
    bundle = open_bundle(tmp_path / "b", expected_digest=summary["digest"])
    assert bundle.labels == data.labels
    assert read_split(bundle.path) == data.manifest
    assert bundle.recipe == RECIPE
    rows = metrics(bundle.path)["comparison"]
    assert rows == summary["comparison"]
    assert {(row["split"], row["thresholds"]) for row in rows} == {
        (split, cut) for split in ("validation", "test") for cut in ("half", "global", "default")
    } | {("out_of_fold", "cross_fitted")}
    assert {part for _, part in read_scores(bundle.path)} == {"tuning", "validation", "test"}


def test_a_backbone_that_is_not_there_is_told_before_a_baseline_is_trained(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    phases: list[str] = []
    with pytest.raises(BundleUnusable, match="no folder"):
        train_bundle(
            EncoderRecipe(preset="x", backbone="./no/such/model"),
            training_data(),
            output=tmp_path / "b",
            name="small",
            device=CPU,
            hooks=Hooks(progress=lambda phase, *_: phases.append(phase)),
        )
    assert phases == []


def test_a_baseline_that_cannot_be_trained_says_how_to_do_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setattr(training, "_check_backbone", lambda recipe: None)
    data = training_data()
    unlike = {
        split: [replace(each, text=f"{split}{each.row}") for each in getattr(data, split)]
        for split in ("train", "validation")
    }
    with pytest.raises(
        NotTrainable, match=r"baseline beside the encoder cannot be trained\. No word"
    ) as caught:
        train_bundle(
            EncoderRecipe(preset="x", backbone="./no/such/model"),
            replace(data, **unlike),
            output=tmp_path / "b",
            name="small",
            device=CPU,
            hooks=Hooks(),
        )
    assert "--no-baseline" in caught.value.hint


def test_thresholds_are_tuned_on_out_of_fold_scores_and_on_nothing_else(tmp_path: Path) -> None:
    train(tmp_path / "b", thresholds="micro_macro")
    bundle = open_bundle(tmp_path / "b")
    tuning = read_scores(bundle.path)[("main", "tuning")]
    assert bundle.thresholds.tuned_on == "out_of_fold"
    assert np.allclose(bundle.thresholds.values, micro_macro_thresholds(tuning.truth, tuning.scores))


def test_the_test_split_can_change_without_changing_the_model_or_its_thresholds(tmp_path: Path) -> None:
    data = training_data()
    one = train(tmp_path / "one", data)
    two = train(tmp_path / "two", replace(data, test=training_data(seed=50).test))
    assert one["model_digest"] == two["model_digest"]
    assert open_bundle(tmp_path / "one").thresholds == open_bundle(tmp_path / "two").thresholds
    assert one["digest"] != two["digest"]


def test_training_twice_gives_the_same_bundle_to_the_byte(tmp_path: Path) -> None:
    assert train(tmp_path / "one")["digest"] == train(tmp_path / "two")["digest"]


def test_validation_figures_of_a_model_fitted_on_validation_are_out_of_fold(tmp_path: Path) -> None:
    data = training_data()
    train(tmp_path / "b", data)
    parts = read_scores(tmp_path / "b")
    tuning, validation = parts[("main", "tuning")], parts[("main", "validation")]
    assert np.array_equal(validation.scores, tuning.scores[len(data.train) :])
    assert validation.document_ids == [document.document_id for document in data.validation]


@pytest.mark.parametrize("method", get_args(ThresholdMethod))
def test_every_threshold_method_trains(tmp_path: Path, method: ThresholdMethod) -> None:
    train(tmp_path / "b", thresholds=method)
    assert open_bundle(tmp_path / "b").thresholds.method == method


@pytest.mark.parametrize("empty", ["validation", "test"])
def test_an_empty_split_is_reported_as_absent_and_is_no_crash(tmp_path: Path, empty: str) -> None:
    data = replace(training_data(), **{empty: []})
    train(tmp_path / "b", data)
    found = metrics(tmp_path / "b")
    assert found[empty] is None
    assert found["data"]["documents"][empty] == 0


def test_a_label_without_positives_in_test_is_named_in_the_report(tmp_path: Path) -> None:
    data = training_data()
    rare = data.labels[-1]
    without = [document for document in data.test if rare not in document.labels]
    train(tmp_path / "b", replace(data, test=without))
    assert metrics(tmp_path / "b")["test"]["labels_without_support"] == [rare]


def told_by_training(folder: Path, data: Any) -> list[str]:
    notes: list[tuple[str, str]] = []
    train(folder, data, Hooks(note=lambda event, message, _: notes.append((event, message))))
    assert [found["event"] for found in metrics(folder)["detections"]] == [event for event, _ in notes]
    return [message for event, message in notes if event == "EMPTY"]


def test_a_label_that_a_split_lacks_is_an_event_of_a_tfidf_training_too(tmp_path: Path) -> None:
    data = training_data()
    rare = data.labels[-1]
    without = [document for document in data.test if rare not in document.labels]
    told = told_by_training(tmp_path / "b", replace(data, test=without))
    assert told == [f"1 label is on no test document ({rare})."]
    assert told_by_training(tmp_path / "healthy", data) == []


def test_a_label_that_every_training_document_carries_is_an_event(tmp_path: Path) -> None:
    data = training_data()
    marked = [replace(document, labels=(*document.labels, "filed")) for document in data.train]
    told = told_by_training(tmp_path / "b", replace(data, train=marked, labels=(*data.labels, "filed")))
    assert any("1 label is on every train document (filed)" in message for message in told)


def test_documents_without_a_label_are_a_track_of_their_own(tmp_path: Path) -> None:
    data = training_data()
    train(tmp_path / "b", data)
    report = metrics(tmp_path / "b")["test"]
    bare = int((~indicator_matrix(data.test, data.labels).any(axis=1)).sum())
    assert bare > 0
    assert report["tracks"]["all"]["half"]["documents"] == len(data.test)
    assert report["tracks"]["labelled"]["half"]["documents"] == len(data.test) - bare
    assert report["without_label"]["default"]["documents"] == bare
    assert 0 <= report["without_label"]["default"]["with_prediction"] <= 1


def test_thresholds_that_only_look_good_on_their_own_documents_fire_the_detector(tmp_path: Path) -> None:
    # Given labels that words say nothing about, and so rare that noise can be fitted,
    data = training_data(train=100)
    random = np.random.default_rng(0)
    labels = tuple(f"noise {number}" for number in range(30))
    noisy = [replace(each, labels=tuple(np.array(labels)[random.random(30) < 0.04])) for each in data.train]
    notes: list[str] = []

    def note(event: str, message: str, data: Mapping[str, object]) -> None:
        notes.append(event)

    # when each label gets the threshold that is best on these very documents,
    summary = train(
        tmp_path / "b",
        replace(data, train=noisy, validation=[], labels=labels),
        Hooks(note=note),
        thresholds="per_label",
    )
    # then the report and the job say that this will not last.
    assert "THRESHOLD_OVERFIT" in notes
    assert "THRESHOLD_OVERFIT" in summary["detections"]


def test_healthy_thresholds_do_not_fire_it(tmp_path: Path) -> None:
    assert train(tmp_path / "b", training_data(train=600))["detections"] == []
