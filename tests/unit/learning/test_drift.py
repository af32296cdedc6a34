"""Drift alarms fire for planted changes, each kind for its own, and stay silent on quiet nights."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chi2, fisher_exact

from postq.learning.drift import (
    FEWEST_FOR_PSI,
    Drift,
    Flips,
    Sketch,
    compare_sketches,
    exact_test,
    sketch,
    stability_index,
)
from postq.learning.drift import _chi_square as chi_square
from postq.learning.logits import sigmoid
from postq.learning.thresholds.decision import Decision

LABELS = tuple(f"label {number}" for number in range(40))
CENTRES = np.linspace(-4.0, -0.5, len(LABELS))
CUTS = np.full(len(LABELS), 0.5)


def night(documents: int, *, seed: int, moved: NDArray[np.float64] | float = 0.0) -> Sketch:
    """Scores around each label's centre, as one model gives them on documents of one kind."""
    random = np.random.default_rng(seed)
    logits = CENTRES + moved + random.normal(0, 1.5, (documents, len(LABELS)))
    return sketch(sigmoid(logits).astype(np.float32), Decision.at(CUTS))


def kinds(drift: Drift) -> set[tuple[str, str | None]]:
    return {(alarm.kind, alarm.label) for alarm in drift.alarms}


def test_quiet_nights_raise_next_to_no_alarm() -> None:
    alarmed = [
        bool(compare_sketches(LABELS, night(size, seed=seed), night(1000, seed=10_000 + seed)).alarms)
        for seed, size in enumerate((40, 150, 600, 2500) * 25)
    ]
    # Three families, each at no more than one in a hundred.
    assert sum(alarmed) <= 3


def test_a_label_that_is_suddenly_frequent_alarms_and_no_other() -> None:
    moved = np.zeros(len(LABELS))
    moved[7] = 2.5
    found = compare_sketches(LABELS, night(1500, seed=1, moved=moved), night(1500, seed=2))
    assert kinds(found) == {("label_share", "label 7"), ("scores", "label 7")}
    assert "'label 7' on" in found.alarms[0].sentence


def test_a_shift_of_scores_under_the_threshold_alarms_before_any_label_changes() -> None:
    moved = np.zeros(len(LABELS))
    moved[0] = 1.0
    cuts = np.full(len(LABELS), 2.0)  # nothing is ever predicted
    random = np.random.default_rng(3)
    both = [
        sketch(sigmoid(CENTRES + shift + random.normal(0, 1.5, (1500, len(LABELS)))), Decision.at(cuts))
        for shift in (moved, 0.0)
    ]
    assert kinds(compare_sketches(LABELS, *both)) == {("scores", "label 0")}
    assert kinds(compare_sketches(LABELS, *both, same_scores=False)) == set()


def test_documents_without_a_label_alarm_when_their_share_changes() -> None:
    few, many = night(1500, seed=4), night(1500, seed=5)
    found = compare_sketches(LABELS, replace(few, empty=400), replace(many, empty=90))
    assert kinds(found) == {("no_label", None)}
    assert "26.7 % of documents got no label, 6.0 % before" in found.alarms[0].sentence


def test_one_flipped_label_is_an_alarm_and_none_is_none() -> None:
    same = night(300, seed=6)
    flips = Flips(compared=300, flipped=1, examples=((17, 4, 3),))
    found = compare_sketches(LABELS, same, same, flips=flips)
    assert kinds(found) == {("flipped", None)}
    assert "row 17 against row 3 of job 4" in found.alarms[0].sentence
    assert compare_sketches(LABELS, same, same, flips=Flips(compared=300)).alarms == ()


def test_a_certain_but_small_difference_is_no_alarm() -> None:
    base = night(10, seed=7)
    now = replace(base, documents=1_000_000, predicted=np.full(len(LABELS), 110_000))
    before = replace(base, documents=1_000_000, predicted=np.full(len(LABELS), 100_000))
    assert not compare_sketches(LABELS, now, before, same_scores=False).alarms
    larger = replace(now, predicted=np.full(len(LABELS), 130_000))
    assert len(compare_sketches(LABELS, larger, before, same_scores=False).alarms) == len(LABELS)


def test_a_handful_of_documents_never_has_its_scores_compared() -> None:
    found = compare_sketches(LABELS, night(FEWEST_FOR_PSI - 1, seed=8, moved=3.0), night(2000, seed=9))
    assert {each.psi for each in found.labels} == {None}
    one = compare_sketches(LABELS, night(1, seed=8), night(2000, seed=9))
    assert one.documents == 1


def test_sketches_add_up_to_the_sketch_of_all() -> None:
    scores = np.random.default_rng(0).random((50, 3)).astype(np.float32)
    scores[0] = (0.0, 1.0, 0.5)
    cuts = np.array([0.5, 1.0, 2.0])
    at = Decision.at(cuts)
    whole, parts = sketch(scores, at), sketch(scores[:20], at) + sketch(scores[20:], at)
    assert (whole.documents, whole.empty) == (parts.documents, parts.empty)
    assert whole.predicted.tolist() == parts.predicted.tolist()
    assert whole.histogram.tolist() == parts.histogram.tolist()
    assert (whole.histogram.sum(axis=1) == 50).all()
    assert whole.predicted.tolist() == (scores >= cuts).sum(axis=0).tolist()


@pytest.mark.parametrize("now", [(0, 10), (3, 40), (40, 40), (120, 700)])
@pytest.mark.parametrize("before", [(0, 2000), (12, 2000), (5, 5), (300, 2000)])
def test_shares_are_compared_by_fishers_exact_test(now: tuple[int, int], before: tuple[int, int]) -> None:
    table = [[now[0], now[1] - now[0]], [before[0], before[1] - before[0]]]
    tails = [fisher_exact(table, alternative=side).pvalue for side in ("less", "greater")]
    assert exact_test(now, before) == pytest.approx(min(1.0, 2 * min(tails)), rel=1e-6)


def test_equal_histograms_have_index_zero_and_the_limit_grows_as_documents_get_fewer() -> None:
    counts = np.array([0, 15, 25, 10, 0, 0, 20], np.int64)
    index, limit = stability_index(counts, counts, alpha=0.001)
    assert index == 0
    assert stability_index(counts * 100, counts * 100, alpha=0.001)[1] == 0.25 < limit
    everything = np.array([0, 500, 0], np.int64)
    assert stability_index(everything, everything, alpha=0.01)[0] == 0


@pytest.mark.parametrize("degrees", [1, 4, 9])
@pytest.mark.parametrize("probability", [0.99, 0.9999])
def test_the_chi_square_quantile_is_close_enough(degrees: int, probability: float) -> None:
    assert chi_square(degrees, probability) == pytest.approx(chi2.ppf(probability, degrees), rel=0.08)
