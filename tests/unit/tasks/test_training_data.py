"""Training data is split without overlap, labelled from the training split, and the same every time."""

from pathlib import Path
from typing import Any

import pytest

from postq.errors import NotTrainable
from postq.learning.data import TrainingData
from postq.learning.hooks import Hooks, StopRequested
from postq.tasks.training_data import training_data
from tests.unit.tasks.conftest import (
    RECIPE,
    Heard,
    MakeRequest,
    MakeSnapshot,
    record,
    text_of,
    train_spec,
)


def build(
    make_request: MakeRequest, snapshot: Path, *, hooks: Hooks | None = None, **recipe: Any
) -> TrainingData:
    request = make_request(train_spec(), snapshot)
    changed = RECIPE.model_copy(update=recipe)
    return training_data(request, changed, corpus="opinions v1", hooks=hooks or Hooks())


def hashes(data: TrainingData) -> list[set[bytes]]:
    return [{one.content_hash for one in part} for part in (data.train, data.validation, data.test)]


def test_no_content_is_in_two_splits_and_every_document_in_one(
    make_request: MakeRequest, snapshot: Path
) -> None:
    data = build(make_request, snapshot)
    train, validation, test = hashes(data)
    assert not (train & validation | train & test | validation & test)
    assert len(train | validation | test) == 60 == len(data.manifest)
    assert all(one.text for one in data.train)


def test_the_same_again_is_the_same(make_request: MakeRequest, snapshot: Path) -> None:
    assert build(make_request, snapshot) == build(make_request, snapshot)


def test_the_manifest_says_where_each_document_went(make_request: MakeRequest, snapshot: Path) -> None:
    data = build(make_request, snapshot)
    told = {entry.document_id: entry.split for entry in data.manifest}
    for split, part in (("train", data.train), ("validation", data.validation), ("test", data.test)):
        assert {told[one.document_id] for one in part} == {split}


def test_a_label_seen_only_outside_the_training_split_is_not_learned(
    make_request: MakeRequest, make_snapshot: MakeSnapshot
) -> None:
    snapshot = make_snapshot(
        train=[record(number) for number in range(30)],
        validation=[record(number) for number in range(30, 40)],
        test=[record(number, label="unheard") for number in range(40, 50)],
    )
    assert set(build(make_request, snapshot).labels) == {"appeal", "dismissal", "summary"}


def test_an_official_split_is_kept_and_told(make_request: MakeRequest, make_snapshot: MakeSnapshot) -> None:
    snapshot = make_snapshot(
        train=[record(number) for number in range(30)],
        validation=[record(number) for number in range(30, 40)],
        test=[record(number) for number in range(40, 50)],
    )
    heard = Heard()
    data = build(make_request, snapshot, hooks=heard.hooks())
    assert [len(part) for part in (data.train, data.validation, data.test)] == [30, 10, 10]
    assert heard.events("split") == ["Official split: 30 train, 10 validation, 10 test."]


def test_what_an_official_split_leaves_open_is_told(
    make_request: MakeRequest, make_snapshot: MakeSnapshot
) -> None:
    everywhere = [record(number) for number in range(30)]
    held_back = [record(number) for number in range(30, 40)]
    carved = "The corpus has no validation split: drawn from train."
    for snapshot, told in (
        (make_snapshot(train=everywhere, test=held_back), f"10 test. {carved}"),
        (
            make_snapshot(everywhere, test=held_back),
            f"10 test. 30 documents without a split count as train. {carved}",
        ),
    ):
        heard = Heard()
        build(make_request, snapshot, hooks=heard.hooks())
        (split,) = heard.events("split")
        assert split.endswith(told)


def test_a_text_of_the_official_test_split_is_never_trained_on(
    make_request: MakeRequest, make_snapshot: MakeSnapshot
) -> None:
    # Given a training and a validation document whose texts the official test split holds too
    again = [
        record(41, text=text_of(1, "appeal"), identity="again-1"),
        record(42, text=text_of(31, "appeal"), identity="again-2"),
    ]
    snapshot = make_snapshot(
        train=[record(1, text=text_of(1, "appeal")), *(record(number) for number in range(2, 30))],
        validation=[record(31, text=text_of(31, "appeal")), *(record(number) for number in range(32, 40))],
        test=[*again, *(record(number) for number in range(50, 58))],
    )
    heard = Heard()
    data = build(make_request, snapshot, hooks=heard.hooks())
    # Then they leave train and validation, and the test split stays whole
    assert [len(part) for part in (data.train, data.validation, data.test)] == [28, 8, 10]
    assert any("were left out" in message for message in heard.events("detector.leak"))


def test_near_duplicates_across_the_official_split_are_told_with_it_and_left_to_leak(
    make_request: MakeRequest, make_snapshot: MakeSnapshot
) -> None:
    twin = record(40, text=f"{text_of(1, 'appeal')} so ordered", identity="twin")
    snapshot = make_snapshot(
        train=[record(1, text=text_of(1, "appeal")), *(record(number) for number in range(2, 30))],
        validation=[record(number) for number in range(30, 40)],
        test=[twin, *(record(number) for number in range(41, 50))],
    )
    heard = Heard()
    build(make_request, snapshot, hooks=heard.hooks())
    (split,) = heard.events("split")
    assert split.endswith("10 test. 1 group of near-duplicates in more than one of them.")
    assert heard.events("detector.leak") == []


def test_unlabelled_documents_are_kept_or_dropped_as_the_recipe_says(
    make_request: MakeRequest, make_snapshot: MakeSnapshot
) -> None:
    snapshot = make_snapshot(
        [record(number) for number in range(40)] + [record(number, label=None) for number in range(40, 50)]
    )
    kept = build(make_request, snapshot)
    labels = RECIPE.labels.model_copy(update={"keep_unlabelled": False})
    dropped = build(make_request, snapshot, labels=labels)
    assert sum(map(len, hashes(kept))) == 50
    assert sum(map(len, hashes(dropped))) == 40 == len(dropped.manifest)


def test_a_corpus_without_labels_cannot_be_trained_on(
    make_request: MakeRequest, make_snapshot: MakeSnapshot
) -> None:
    snapshot = make_snapshot([record(number, label=None) for number in range(20)])
    with pytest.raises(NotTrainable, match="no labels"):
        build(make_request, snapshot)


def test_a_stop_is_granted_while_documents_are_compared(make_request: MakeRequest, snapshot: Path) -> None:
    with pytest.raises(StopRequested):
        build(make_request, snapshot, hooks=Heard().hooks(stop_in="comparing"))
