"""Evaluating a bundle on other documents, and finding those it has already seen."""

import numpy as np
import pytest

from postq.contracts.device import Device
from postq.contracts.recipes import TfidfRecipe
from postq.errors import IntegrityError, LabelSetMismatch, NotTrainable
from postq.learning.bundle import Bundle, open_bundle
from postq.learning.data import SplitEntry
from postq.learning.evaluation import Leak, evaluate_bundle, find_leaks
from postq.learning.hooks import Hooks
from postq.learning.labels import indicator_matrix
from postq.learning.training import train_bundle
from tests.unit.learning.opinions import document, opinions, training_data


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle") / "tfidf"
    recipe = TfidfRecipe(regularisation=(1.0,), folds=2)
    train_bundle(
        recipe, training_data(), output=folder, name="small", device=Device(kind="cpu"), hooks=Hooks()
    )
    return open_bundle(folder)


def test_perfect_scores_give_perfect_figures_on_both_tracks(bundle: Bundle) -> None:
    documents = opinions(40, seed=77)
    truth = indicator_matrix(documents, bundle.labels)
    found = evaluate_bundle(bundle, documents, truth.astype(np.float32))
    for track in ("all", "labelled"):
        for cut in ("half", "global", "default"):
            assert found["tracks"][track][cut]["micro_f1"] == 1.0
    assert found["ranking"]["map"] == 1.0
    assert found["without_label"]["half"]["with_prediction"] == 0.0
    assert [row["label"] for row in found["by_label"]] == list(bundle.labels)


def test_labels_the_bundle_does_not_know_are_counted_and_lower_the_figure_over_all_truths(
    bundle: Bundle,
) -> None:
    known = bundle.labels[0]
    documents = [
        document("x", row=0, labels=(known, "unheard of")),
        document("y", row=1, labels=("unheard of", "new")),
    ]
    truth = indicator_matrix(documents, bundle.labels)
    found = evaluate_bundle(bundle, documents, truth.astype(np.float32))
    whole, labelled = (found["tracks"][track]["half"] for track in ("all", "labelled"))
    assert found["unlearned_mentions"] == 3
    assert (whole["micro_f1"], labelled["micro_f1"]) == (1.0, 1.0)
    assert whole["micro_f1_all_truths"] == pytest.approx(2 / 5)
    assert labelled["micro_f1_all_truths"] == pytest.approx(2 / 3), "y carries no label it knows"


def test_documents_without_any_known_label_cannot_be_evaluated(bundle: Bundle) -> None:
    strangers = [document("x", labels=("unheard of",))]
    with pytest.raises(NotTrainable, match="nothing to evaluate"):
        evaluate_bundle(bundle, strangers, np.zeros((1, len(bundle.labels)), np.float32))


def test_scores_that_do_not_fit_or_are_not_numbers_are_refused(bundle: Bundle) -> None:
    documents = opinions(5, seed=3)
    with pytest.raises(LabelSetMismatch):
        evaluate_bundle(bundle, documents, np.zeros((4, len(bundle.labels)), np.float32))
    with pytest.raises(IntegrityError):
        evaluate_bundle(bundle, documents, np.full((5, len(bundle.labels)), np.nan, np.float32))


def entry(text: str, split: str, document_id: str) -> SplitEntry:
    return SplitEntry(
        document_id=document_id,
        content_hash=document(text).content_hash,
        cluster=0,
        split=split,  # type: ignore[arg-type]
    )


MANIFEST = [entry("one", "train", "a"), entry("two", "validation", "b"), entry("three", "test", "c")]


def test_training_and_validation_documents_are_leaks_under_any_name_and_test_documents_are_not() -> None:
    documents = [document(text, document_id=f"new-{text}") for text in ("one", "two", "three", "four")]
    assert find_leaks(MANIFEST, documents) == [
        Leak(document_id="new-one", seen_as="a", split="train", kind="same_text"),
        Leak(document_id="new-two", seen_as="b", split="validation", kind="same_text"),
    ]


def test_near_duplicates_of_seen_documents_are_leaks() -> None:
    documents = [document("one!", document_id="x"), document("three!", document_id="y")]
    found = find_leaks(MANIFEST, documents, near_duplicates={"x": "a", "y": "c"})
    assert found == [Leak(document_id="x", seen_as="a", split="train", kind="near_duplicate")]
