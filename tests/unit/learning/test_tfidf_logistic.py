"""The solver for all labels at once finds what scikit-learn finds label by label, once that has converged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array, random_array
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from postq.learning.tfidf.gram import GramDesign, SparseDesign, gram_matrix
from postq.learning.tfidf.logistic import Solution, constant_intercepts, solve


def problem(
    documents: int = 80, features: int = 200, labels: int = 4, seed: int = 0
) -> tuple[csr_array, NDArray[np.bool_]]:
    random = np.random.default_rng(seed)
    rows = csr_array(random_array((documents, features), density=0.1, rng=random))
    rows = csr_array(rows / np.maximum(np.sqrt(rows.multiply(rows).sum(axis=1)), 1e-9)[:, None])
    weights = random.normal(0, 3, (features, labels))
    return rows, (rows @ weights + random.normal(-1, 1, labels) > 0)


@pytest.mark.parametrize("regularisation", [0.1, 1.0, 16.0])
@pytest.mark.parametrize("class_weight", ["balanced", None])
@pytest.mark.parametrize("form", ["sparse", "gram"])
def test_coefficients_equal_a_converged_scikit_learn(
    regularisation: float, class_weight: str | None, form: str
) -> None:
    rows, truth = problem()
    design = SparseDesign(rows) if form == "sparse" else GramDesign(rows)
    found = solve(
        design,
        truth,
        regularisation=regularisation,
        class_weight=class_weight,  # type: ignore[arg-type]
        tolerance=1e-8,
        dtype=np.float64,
    )
    weights = found.weights if form == "sparse" else rows.T @ found.weights
    assert found.unconverged == ()
    for label in range(truth.shape[1]):
        reference = LogisticRegression(
            C=regularisation, class_weight=class_weight, tol=1e-10, max_iter=10_000
        ).fit(rows, truth[:, label])
        assert np.allclose(weights[:, label], reference.coef_[0], atol=1e-4)
        assert found.intercepts[label] == pytest.approx(reference.intercept_[0], abs=1e-3)


def test_float32_probabilities_stay_within_a_thousandth_of_float64_ones() -> None:
    rows, truth = problem(documents=150, seed=3)
    exact = _probabilities(rows, solve(SparseDesign(rows), truth, regularisation=16.0, class_weight=None,
                                       tolerance=1e-9, dtype=np.float64))  # fmt: skip
    single = csr_array(rows.astype(np.float32))
    fast = solve(GramDesign(single), truth, regularisation=16.0, class_weight=None, tolerance=1e-4)
    mapped = Solution(weights=single.T @ fast.weights, intercepts=fast.intercepts)
    assert np.abs(exact - _probabilities(single, mapped)).max() < 1e-3


def test_a_warm_start_ends_where_a_cold_one_does() -> None:
    rows, truth = problem(seed=5)
    first = solve(SparseDesign(rows), truth, regularisation=1.0, class_weight="balanced", dtype=np.float64)
    options = {"regularisation": 4.0, "class_weight": "balanced", "tolerance": 1e-8, "dtype": np.float64}
    warm = solve(SparseDesign(rows), truth, start=first, **options)  # type: ignore[arg-type]
    cold = solve(SparseDesign(rows), truth, **options)  # type: ignore[arg-type]
    assert np.allclose(warm.weights, cold.weights, atol=1e-5)


@pytest.mark.parametrize("form", [SparseDesign, GramDesign])
def test_a_document_left_out_is_as_good_as_absent(form: type[SparseDesign] | type[GramDesign]) -> None:
    rows, truth = problem(seed=8)
    kept = np.arange(len(truth)) % 5 != 0
    options = {"regularisation": 4.0, "class_weight": "balanced", "tolerance": 1e-9, "dtype": np.float64}
    masked, alone = form(rows), form(rows[np.flatnonzero(kept)])
    one = solve(masked, truth, included=kept, **options)  # type: ignore[arg-type]
    two = solve(alone, truth[kept], **options)  # type: ignore[arg-type]
    assert np.allclose(masked.feature_weights(one.weights), alone.feature_weights(two.weights), atol=1e-6)
    assert np.allclose(one.intercepts, two.intercepts, atol=1e-6)


def test_labels_on_all_documents_or_none_get_constant_scores_and_do_not_disturb_the_rest() -> None:
    rows, truth = problem()
    odd = truth.copy()
    odd[:, 0], odd[:, 1] = False, True
    found = solve(SparseDesign(rows), odd, regularisation=1.0, class_weight="balanced", dtype=np.float64)
    assert not found.weights[:, :2].any()
    assert np.array_equal(found.intercepts[:2], constant_intercepts(odd)[:2])
    whole = solve(SparseDesign(rows), truth, regularisation=1.0, class_weight="balanced", dtype=np.float64)
    assert np.allclose(found.weights[:, 2:], whole.weights[:, 2:], atol=1e-3)


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_any_small_problem_converges_to_finite_weights(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows, _ = problem(documents=int(random.integers(2, 30)), features=20, seed=seed)
    rows = csr_array(
        np.vstack([rows.toarray(), rows.toarray()[:1], np.zeros((1, 20))])
    )  # twins, an empty row
    truth = random.random((rows.shape[0], 5)) < 0.3
    found = solve(SparseDesign(rows), truth, regularisation=64.0, class_weight="balanced", dtype=np.float64)
    assert np.isfinite(found.weights).all()
    assert found.unconverged == ()


def test_the_gram_matrix_is_the_product_of_the_rows() -> None:
    rows, _ = problem(documents=100, features=400, seed=2)
    assert np.allclose(gram_matrix(rows), (rows @ rows.T).toarray(), atol=1e-12)


def test_more_labels_than_one_block_are_all_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, truth = problem(labels=10)
    whole = solve(SparseDesign(rows), truth, regularisation=1.0, class_weight=None, dtype=np.float64)
    monkeypatch.setattr("postq.learning.tfidf.logistic.LABEL_BLOCK", 3)
    pieces = solve(SparseDesign(rows), truth, regularisation=1.0, class_weight=None, dtype=np.float64)
    assert np.allclose(whole.weights, pieces.weights, atol=1e-3)


def _probabilities(rows: csr_array, solution: Solution) -> NDArray[np.float64]:
    return np.asarray(expit(rows @ solution.weights + solution.intercepts))
