"""TF-IDF training is deterministic, keeps its out-of-fold scores honest, and refuses what it cannot learn."""

from collections.abc import Mapping
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
from scipy.sparse import csr_array

from postq.contracts.recipes import TermWeighting, TfidfRecipe
from postq.errors import NotTrainable
from postq.learning.data import SplitEntry
from postq.learning.hooks import Hooks, StopRequested
from postq.learning.labels import indicator_matrix
from postq.learning.metrics.ranking import mean_average_precision
from postq.learning.tfidf import out_of_fold
from postq.learning.tfidf.choosing import Fitters, choose
from postq.learning.tfidf.folds import assign_folds
from postq.learning.tfidf.model import TfidfConfig
from postq.learning.tfidf.out_of_fold import fits_needed, score_out_of_fold
from postq.learning.tfidf.training import TrainedTfidf, train_tfidf
from tests.unit.learning.opinions import document, training_data

RECIPE = TfidfRecipe(regularisation=(1.0, 16.0), folds=3)


def trained(**changes: object) -> TrainedTfidf:
    return train_tfidf(RECIPE.model_copy(update=changes), training_data(), hooks=Hooks())


def test_it_learns_labels_that_show_in_words() -> None:
    data = training_data()
    scores = trained().score(data.test)
    truth = indicator_matrix(data.test, data.labels)
    assert scores.shape == (len(data.test), len(data.labels))
    assert (mean_average_precision(truth, scores) or 0) > 0.95


def test_equal_seeds_give_equal_models() -> None:
    one, two = trained(), trained()
    assert np.array_equal(one.model.coefficients, two.model.coefficients)
    assert np.array_equal(one.out_of_fold, two.out_of_fold)


def test_the_chosen_c_is_the_best_out_of_fold_one_and_all_are_told() -> None:
    facts = trained().facts
    assert set(facts["candidates"]) == {"1.0", "16.0"}
    assert facts["candidates"][str(facts["regularisation"])] == max(facts["candidates"].values())
    assert facts["unconverged_labels"] == []


@pytest.mark.parametrize("order", [("log", "bm25"), ("bm25", "log")], ids="-then-".join)
def test_the_weighting_that_ranks_better_out_of_fold_is_chosen(order: tuple[TermWeighting, ...]) -> None:
    # Given features that tell the labels by one weighting and are noise by the other
    random = np.random.default_rng(0)
    truth = random.random((120, 3)) < 0.4
    noise = random.random((120, 3))
    rows = {"log": csr_array(noise.astype(np.float32)), "bm25": csr_array((truth + noise).astype(np.float32))}
    fitters, announced = Fitters(rows.__getitem__, truth, class_weight=None), Mock()
    fold = assign_folds(truth, list(range(120)), folds=5, seed=1)
    # When one is chosen, in either order,
    found = choose(fitters, fold, weightings=order, regularisation=(1.0, 4.0), look_up=announced)
    score_out_of_fold(fitters.of(found.weighting), fold, found.trial, look_up=announced)
    # then it is the telling one, and as many fits were announced as were foretold
    assert found.weighting == "bm25"
    assert found.precision["bm25"] > 0.9 > found.precision["log"]
    assert announced.call_count == fits_needed(folds=5, values=2, weightings=2)


def test_a_training_says_which_weighting_it_chose_and_its_model_keeps_it() -> None:
    found = trained(term_weightings=("log", "bm25"))
    facts = found.facts
    assert set(facts["term_weightings"]) == {"log", "bm25"}
    assert facts["term_weightings"][facts["term_weighting"]] == max(facts["term_weightings"].values())
    assert found.model.config.term_weighting == facts["term_weighting"]


@pytest.mark.parametrize(("sublinear", "kind"), [(True, "log"), (False, "raw")])
def test_recipes_and_models_from_before_bm25_keep_their_weighting(*, sublinear: bool, kind: str) -> None:
    assert TfidfRecipe.model_validate({"sublinear_tf": sublinear}).term_weightings == (kind,)
    facts = {"features": 3, "labels": 1, "regularisation": 4.0, "score_space": "sigmoid", "ngram_max": 2}
    config = TfidfConfig.model_validate({"sublinear_tf": sublinear, **facts})
    assert config.dampening.kind == kind


def test_out_of_fold_scores_cannot_know_a_documents_own_label() -> None:
    # Given labels that are pure noise,
    data = training_data(train=150, validation=0)
    noise = np.random.default_rng(0)
    shuffled = [
        replace(each, labels=("noise",) if noise.random() < 0.4 else ("other",)) for each in data.train
    ]
    found = train_tfidf(RECIPE, replace(data, train=shuffled, labels=("noise", "other")), hooks=Hooks())
    truth = indicator_matrix(shuffled, ("noise", "other"))
    # when the fitted model scores its own documents, it has learned them by heart; out of fold it has not.
    assert (mean_average_precision(truth, found.score(shuffled)) or 0) > 0.95
    assert (mean_average_precision(truth, found.out_of_fold) or 1) < 0.65


def test_validation_documents_teach_unless_the_recipe_says_otherwise() -> None:
    data = training_data()
    both = train_tfidf(RECIPE, data, hooks=Hooks())
    alone = train_tfidf(RECIPE.model_copy(update={"fit_on": "train"}), data, hooks=Hooks())
    assert len(both.out_of_fold) == len(data.train) + len(data.validation)
    assert len(alone.out_of_fold) == len(data.train)


def test_near_duplicates_share_a_fold_and_every_fold_sees_a_rare_label() -> None:
    random = np.random.default_rng(0)
    truth = random.random((100, 4)) < [0.5, 0.2, 0.1, 0.0]
    truth[:10, 3] = True
    clusters = [at // 2 for at in range(100)]
    fold = assign_folds(truth, clusters, folds=5, seed=1)
    assert all(fold[at] == fold[at + 1] for at in range(0, 100, 2))
    assert {int(fold[at]) for at in range(10)} == set(range(5))
    assert max(np.bincount(fold)) - min(np.bincount(fold)) <= 10


def test_the_sparse_and_the_gram_form_give_the_same_model(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = trained()
    monkeypatch.setattr(out_of_fold, "GRAM_DOCUMENTS", 0)
    sparse = trained()
    test = training_data().test
    assert np.allclose(dense.score(test), sparse.score(test), atol=2e-3)
    assert np.allclose(dense.out_of_fold, sparse.out_of_fold, atol=5e-3)


def test_a_label_on_every_document_or_on_none_is_scored_and_not_a_crash() -> None:
    data = training_data(train=60, validation=0, test=5)
    everywhere = [replace(each, labels=(*each.labels, "always")) for each in data.train]
    found = train_tfidf(
        RECIPE, replace(data, train=everywhere, labels=("always", "never", *data.labels)), hooks=Hooks()
    )
    scores = found.score(data.test)
    assert np.isfinite(scores).all()
    assert (scores[:, 0] > 0.9).all()
    assert (scores[:, 1] < 0.1).all()


def test_one_label_alone_is_trainable() -> None:
    data = training_data(labels=1)
    found = train_tfidf(RECIPE, data, hooks=Hooks())
    assert found.score(data.test).shape == (len(data.test), 1)


def test_a_thousand_labels_are_trainable() -> None:
    data = training_data(train=120, validation=0, test=3)
    labels = tuple(f"label-{number}" for number in range(1_000))
    many = [replace(each, labels=labels[at::7][:20]) for at, each in enumerate(data.train)]
    recipe = RECIPE.model_copy(update={"regularisation": (1.0,), "folds": 2})
    found = train_tfidf(recipe, replace(data, train=many, labels=labels), hooks=Hooks())
    assert np.isfinite(found.score(data.test)).all()


def test_nothing_to_learn_from_is_said_in_words() -> None:
    data = training_data()
    with pytest.raises(NotTrainable, match="no training document"):
        train_tfidf(RECIPE, replace(data, train=[]), hooks=Hooks())
    with pytest.raises(NotTrainable, match="no label"):
        train_tfidf(RECIPE, replace(data, labels=()), hooks=Hooks())
    silent = [replace(each, text=". , ;") for each in data.train]
    with pytest.raises(NotTrainable, match="No word"):
        train_tfidf(RECIPE, replace(data, train=silent, validation=[]), hooks=Hooks())
    twins = [
        SplitEntry(document_id=e.document_id, content_hash=e.content_hash, cluster=0, split=e.split)
        for e in data.manifest
    ]
    with pytest.raises(NotTrainable, match="near-duplicates"):
        train_tfidf(RECIPE, replace(data, manifest=twins), hooks=Hooks())


def test_an_empty_split_scores_to_an_empty_matrix() -> None:
    found = trained()
    assert found.score([]).shape == (0, found.model.config.labels)


def test_a_document_without_a_known_word_is_counted_in_a_note() -> None:
    notes: list[tuple[str, Mapping[str, object]]] = []
    hooks = Hooks(note=lambda event, message, data: notes.append((event, data)))
    scores = trained().score([document("zzz qqq", document_id="odd")], hooks=hooks)
    assert np.isfinite(scores).all()
    assert notes[0][0] == "EMPTY"
    assert notes[0][1]["documents"] == ["odd"]


def test_a_request_to_stop_is_granted_between_fits() -> None:
    phases: list[str] = []
    hooks = Hooks(
        progress=lambda phase, done, total, metrics: phases.append(phase),
        should_stop=lambda: phases.count("fitting") >= 2,
    )
    with pytest.raises(StopRequested):
        train_tfidf(RECIPE, training_data(), hooks=hooks)
    assert phases.count("fitting") == 2
