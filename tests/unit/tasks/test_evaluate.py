"""An evaluation uses documents the bundle has not seen, or says in large letters that it did."""

from pathlib import Path
from typing import Any

import pytest

from postq.contracts.specs import EvaluateSpec
from postq.errors import LeakRefused, NotTrainable
from postq.learning.bundle.split_file import read_split
from postq.tasks import evaluate
from postq.tasks.resident import Resident
from postq.tasks.results import read_scores
from tests.unit.tasks.conftest import (
    Heard,
    MakeRequest,
    MakeSnapshot,
    TrainedBundle,
    evaluate_spec,
    record,
    text_of,
)


class Evaluation:
    """Runs evaluations of the one bundle."""

    def __init__(self, make_request: MakeRequest, bundle: TrainedBundle) -> None:
        self.make_request = make_request
        self.bundle = bundle
        self.heard = Heard()
        self.output = Path()

    def of(self, snapshot: Path, spec: EvaluateSpec, **extra: str) -> dict[str, Any]:
        told = {**self.bundle.extra, **extra}
        request = self.make_request(spec, snapshot, bundle=self.bundle.on_disk, extra=told)
        self.output = request.output
        return evaluate.run(request, spec, hooks=self.heard.hooks(), resident=Resident())


@pytest.fixture
def evaluation(make_request: MakeRequest, bundle: TrainedBundle) -> Evaluation:
    return Evaluation(make_request, bundle)


def test_the_bundles_own_test_split_is_found_by_content(evaluation: Evaluation, snapshot: Path) -> None:
    result = evaluation.of(snapshot, evaluate_spec())
    entries = read_split(evaluation.bundle.on_disk.path)
    expected = sum(entry.split == "test" for entry in entries)
    assert result["documents"] == expected == result["report"]["documents"]
    assert result["leaks"] == {"documents": 0}
    assert sum(len(batch.rows) for batch in read_scores(evaluation.output)) == expected


def test_a_copy_that_training_left_out_is_no_member_of_the_split(
    evaluation: Evaluation, make_snapshot: MakeSnapshot
) -> None:
    entries = [entry for entry in read_split(evaluation.bundle.on_disk.path) if entry.split == "test"]
    first = number_of(entries[0].document_id)
    own = [record(number_of(entry.document_id)) for entry in entries]
    # Given a copy of a test document under another name: the test documents alone are evaluated
    with_copy = make_snapshot([record(first, identity="copy"), *own])
    assert evaluation.of(with_copy, evaluate_spec())["documents"] == len(entries)
    # But one that has only another name by now is
    renamed = make_snapshot([record(first, identity="renamed"), *own[1:]])
    assert evaluation.of(renamed, evaluate_spec())["documents"] == len(entries)


def test_the_report_of_the_test_split_equals_the_one_made_in_training(
    evaluation: Evaluation, snapshot: Path
) -> None:
    import json

    result = evaluation.of(snapshot, evaluate_spec())
    metrics = json.loads((evaluation.bundle.on_disk.path / "metrics.json").read_text())
    for track in ("all", "labelled"):
        for cut in ("half", "global", "default"):
            mine = result["report"]["tracks"][track][cut]["micro_f1"]
            assert mine == pytest.approx(metrics["test"]["tracks"][track][cut]["micro_f1"])


def test_documents_thresholds_were_tuned_on_are_refused(evaluation: Evaluation, snapshot: Path) -> None:
    with pytest.raises(LeakRefused, match="trained or tuned on"):
        evaluation.of(snapshot, evaluate_spec(split="validation"))


def test_a_leak_that_was_allowed_is_said_in_large_letters(evaluation: Evaluation, snapshot: Path) -> None:
    result = evaluation.of(snapshot, evaluate_spec(split="all", allow_leak=True))
    assert result["leaks"]["watermark"].startswith("CONTAMINATED: ")
    assert result["leaks"]["documents"] == result["leaks"]["same_text"] > 40
    assert evaluation.heard.events("detector.leak") == [result["leaks"]["watermark"]]


def test_a_new_corpus_is_evaluated_as_a_whole(evaluation: Evaluation, make_snapshot: MakeSnapshot) -> None:
    fresh = make_snapshot([record(number) for number in range(100, 120)])
    assert evaluation.of(fresh, evaluate_spec(split="all"))["documents"] == 20


def test_one_training_text_in_a_new_corpus_is_refused(
    evaluation: Evaluation, make_snapshot: MakeSnapshot
) -> None:
    seen = trained_number(evaluation)
    fresh = make_snapshot([record(seen, identity="renamed"), *(record(n) for n in range(100, 110))])
    with pytest.raises(LeakRefused, match="1 of the 11 documents, such as renamed"):
        evaluation.of(fresh, evaluate_spec(split="all"))


def test_a_training_text_with_a_few_words_changed_is_refused_too(
    evaluation: Evaluation, make_snapshot: MakeSnapshot
) -> None:
    fresh = make_snapshot([nearly_trained(evaluation), *(record(n) for n in range(100, 110))])
    with pytest.raises(LeakRefused, match="near-duplicates of 1"):
        evaluation.of(fresh, evaluate_spec(split="all"))


def test_without_the_training_corpus_only_equal_texts_are_found_and_that_is_said(
    evaluation: Evaluation, make_snapshot: MakeSnapshot
) -> None:
    fresh = make_snapshot([nearly_trained(evaluation), *(record(n) for n in range(100, 110))])
    result = evaluation.of(fresh, evaluate_spec(split="all"), training_snapshot="/nowhere")
    assert result["documents"] == 11
    assert "only identical texts" in evaluation.heard.events("leak.unchecked")[0]
    assert result["leaks"] == {"documents": 0, "near_duplicates_unchecked": True}


def test_a_corpus_without_the_test_documents_has_nothing_to_evaluate(
    evaluation: Evaluation, make_snapshot: MakeSnapshot
) -> None:
    fresh = make_snapshot([record(number) for number in range(100, 110)])
    with pytest.raises(NotTrainable, match="test split"):
        evaluation.of(fresh, evaluate_spec())


def test_documents_without_a_known_label_cannot_be_evaluated_on(
    evaluation: Evaluation, make_snapshot: MakeSnapshot
) -> None:
    fresh = make_snapshot([record(number, label="unheard") for number in range(100, 110)])
    with pytest.raises(NotTrainable, match="label the bundle knows"):
        evaluation.of(fresh, evaluate_spec(split="all"))


def number_of(document_id: str) -> int:
    """What `record` made a document from."""
    return int(document_id.removeprefix("op-"))


def trained_number(evaluation: Evaluation) -> int:
    """The number of a document the bundle was trained on."""
    entries = read_split(evaluation.bundle.on_disk.path)
    return next(number_of(entry.document_id) for entry in entries if entry.split == "train")


def nearly_trained(evaluation: Evaluation) -> dict[str, Any]:
    """A document that differs from a training document in its last word."""
    seen = trained_number(evaluation)
    label = record(seen)["postures"][0]
    return record(seen, text=text_of(seen, label) + " indeed", identity="nearly")
