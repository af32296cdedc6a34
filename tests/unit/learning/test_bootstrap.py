"""The paired document bootstrap: equal to a slow one, covering, and pairing by seed."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from postq.learning.bootstrap import difference, f1_samples, interval


def noisy(truth: np.ndarray, flip: float, seed: int) -> np.ndarray:
    return truth ^ (np.random.default_rng(seed).random(truth.shape) < flip)


def test_the_first_sample_is_the_figure_itself() -> None:
    truth = np.random.default_rng(0).random((60, 4)) < 0.3
    predicted = noisy(truth, 0.1, seed=1)
    samples = f1_samples(truth, predicted, samples=10)
    assert samples.micro[0] == pytest.approx(f1_score(truth, predicted, average="micro"))
    assert samples.macro[0] == pytest.approx(f1_score(truth, predicted, average="macro", zero_division=0))
    assert len(samples.micro) == 11


def test_samples_equal_a_slow_bootstrap_that_copies_the_drawn_documents() -> None:
    truth = np.random.default_rng(0).random((40, 3)) < 0.4
    predicted = noisy(truth, 0.2, seed=1)
    draws = np.random.default_rng(7).multinomial(40, np.full(40, 1 / 40), 5)
    samples = f1_samples(truth, predicted, samples=5, seed=7)
    for at, draw in enumerate(draws, start=1):
        rows = np.repeat(np.arange(40), draw)
        assert samples.micro[at] == pytest.approx(f1_score(truth[rows], predicted[rows], average="micro"))
        assert samples.macro[at] == pytest.approx(f1_score(truth[rows], predicted[rows], average="macro"))


def test_two_equal_models_differ_by_exactly_nothing() -> None:
    truth = np.random.default_rng(0).random((100, 5)) < 0.3
    one, two = (f1_samples(truth, noisy(truth, 0.1, seed=1), samples=200) for _ in range(2))
    found = difference(one.micro, two.micro)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    assert not found.excludes_zero


def test_a_clearly_better_model_has_an_interval_off_zero() -> None:
    truth = np.random.default_rng(0).random((300, 5)) < 0.3
    good, bad = (f1_samples(truth, noisy(truth, flip, seed=1), samples=300) for flip in (0.02, 0.2))
    assert difference(good.micro, bad.micro).excludes_zero
    assert difference(good.macro, bad.macro).low > 0


def test_the_interval_of_macro_f1_holds_the_figure_though_samples_leave_rare_labels_out() -> None:
    random = np.random.default_rng(0)
    truth = random.random((200, 40)) < 0.01
    predicted = noisy(truth, 0.002, seed=3)
    found = interval(f1_samples(truth, predicted, samples=400).macro)
    assert found.low < found.value < found.high


def test_rare_labels_that_are_always_missed_do_not_push_the_interval_above_the_figure() -> None:
    random = np.random.default_rng(0)
    truth = np.zeros((400, 40), dtype=bool)
    truth[:, 0] = random.random(400) < 0.5
    truth[np.arange(39), np.arange(1, 40)] = True
    predicted = truth.copy()
    predicted[:, 1:] = False
    predicted[:80, 0] = False
    found = interval(f1_samples(truth, predicted, samples=400).macro)
    assert found.low < found.value < found.high
