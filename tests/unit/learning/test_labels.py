"""The label set is decided on training documents, in an order that never varies."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from postq.errors import NotTrainable
from postq.learning.labels import decide_labels, indicator_matrix, unlearned_mentions
from tests.unit.learning.opinions import document


def test_labels_are_ordered_by_frequency_and_then_by_name() -> None:
    documents = [document("x", labels=labels) for labels in (("b", "a"), ("a", "b"), ("c",), ("c", "d"))]
    documents.append(document("x", labels=("c",)))
    assert decide_labels(documents, min_label_count=2) == ("c", "a", "b")


def test_a_label_named_twice_on_one_document_counts_once() -> None:
    assert decide_labels(
        [document("x", labels=("a", "a")), document("x", labels=("b",))] * 2, min_label_count=2
    ) == ("a", "b")


def test_without_a_frequent_label_training_is_refused_and_says_how_frequent_the_best_is() -> None:
    with pytest.raises(NotTrainable, match="most frequent is on 1"):
        decide_labels([document("x", labels=("a",)), document("y")], min_label_count=2)
    with pytest.raises(NotTrainable, match="most frequent is on 0"):
        decide_labels([], min_label_count=1)


def test_the_indicator_matrix_has_a_column_a_label_and_ignores_the_others() -> None:
    documents = [document("x", labels=("b", "z")), document("y"), document("z", labels=("a", "b"))]
    matrix = indicator_matrix(documents, ("a", "b"))
    assert matrix.tolist() == [[False, True], [False, False], [True, True]]
    assert unlearned_mentions(documents, ("a", "b")) == 1


def test_a_boolean_indicator_matrix_keeps_its_columns_where_an_int8_one_is_permuted() -> None:
    # scikit-learn 1.9.1 permutes the columns of int8 matrices with more than 127 labels. Ours is boolean.
    random = np.random.default_rng(0)
    labels = tuple(f"l{number:03}" for number in range(140))
    documents = [document("x", labels=(labels[at % 140],)) for at in range(280)]
    matrix = indicator_matrix(documents, labels)
    assert matrix.dtype == np.bool_
    features = matrix + random.normal(0, 0.01, matrix.shape)
    model = OneVsRestClassifier(LogisticRegression(C=100.0)).fit(features, matrix)
    assert (model.decision_function(features).argmax(axis=1) == matrix.argmax(axis=1)).all()
