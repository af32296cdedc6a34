"""Each detector fires on a planted fault and is silent on a healthy training."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from postq.learning import detectors
from postq.learning.data import SplitEntry

RANDOM = np.random.default_rng(5)
TRUTH = RANDOM.random((400, 6)) < 0.2
GOOD = np.clip(np.where(TRUTH, 0.7, 0.2) + RANDOM.normal(0, 0.12, TRUTH.shape), 0, 1)
BAD = RANDOM.random(TRUTH.shape) * 0.4
HEALTHY_COURSE = [(0.60, 0.58, 0.40), (0.45, 0.47, 0.60), (0.38, 0.41, 0.70), (0.34, 0.40, 0.702)]


def history(*epochs: tuple[float, float, float]) -> list[dict[str, float]]:
    """(train loss, validation loss, selection metric) per epoch."""
    return [
        {"epoch": i + 1.0, "train_loss": train, "val_loss": validation, "selected": selected}
        for i, (train, validation, selected) in enumerate(epochs)
    ]


HEALTHY = history(*HEALTHY_COURSE)


def entry(name: str, split: Any, *, text: str, cluster: int) -> SplitEntry:
    return SplitEntry(document_id=name, content_hash=text.encode(), cluster=cluster, split=split)


def test_a_healthy_model_is_neither_shy_nor_loud() -> None:
    assert detectors.detect_shy(TRUTH, GOOD >= 0.5, GOOD) is None
    assert detectors.detect_loud(TRUTH, GOOD >= 0.5) is None


@pytest.mark.parametrize(("scores", "fine"), [(GOOD * 0.5, True), (BAD, False)])
def test_a_shy_model_is_found_and_its_ranking_judged(scores: Any, *, fine: bool) -> None:
    found = detectors.detect_shy(TRUTH, scores >= 0.5, scores)
    assert found is not None
    assert found.event == "SHY"
    assert found.data["ranking_fine"] is fine
    assert ("ranking is fine" in found.message) is fine


def test_a_loud_model_is_found() -> None:
    found = detectors.detect_loud(TRUTH, GOOD >= 0.15)
    assert found is not None
    assert found.event == "LOUD"
    assert found.data["ratio"] >= 1.8


def test_documents_without_any_true_label_make_no_model_shy_or_loud() -> None:
    nothing = np.zeros_like(TRUTH)
    assert detectors.detect_shy(nothing, nothing, GOOD) is None
    assert detectors.detect_loud(nothing, TRUTH) is None


def not_learning(course: list[dict[str, float]]) -> detectors.Detection | None:
    return detectors.detect_not_learning(course, prior_loss=0.65, warmup_share=0.1, epochs=4)


def test_a_model_no_better_than_a_constant_is_found() -> None:
    found = not_learning(history((0.70, 0.66, 0.1), (0.66, 0.645, 0.1)))
    assert found is not None
    assert (found.event, found.severity) == ("NOT_LEARNING", "error")
    assert not_learning(HEALTHY) is None


def test_epochs_within_warm_up_are_not_judged() -> None:
    course = history((0.70, 0.66, 0.1))
    assert detectors.detect_not_learning(course, prior_loss=0.65, warmup_share=0.5, epochs=4) is None


@pytest.mark.parametrize("last", [0.9, float("nan"), float("inf")])
def test_a_training_whose_loss_rises_is_found(last: float) -> None:
    found = detectors.detect_diverged(history((0.6, 0.6, 0.3), (0.5, 0.5, 0.4), (last, 2.0, 0.1)))
    assert found is not None
    assert found.event == "DIVERGED"


def test_a_falling_loss_has_not_diverged() -> None:
    assert detectors.detect_diverged(HEALTHY) is None


def test_overfitting_is_found_and_not_called_anything_else() -> None:
    course = history((0.5, 0.45, 0.5), (0.3, 0.40, 0.6), (0.2, 0.44, 0.6), (0.1, 0.50, 0.6))
    found = detectors.detect_overfit(course)
    assert found is not None
    assert found.event == "OVERFIT"
    assert found.data["lowest_epoch"] == 2
    assert "forget" not in found.message.lower()
    assert detectors.detect_overfit(HEALTHY) is None


def test_rising_validation_loss_with_rising_training_loss_is_not_overfitting() -> None:
    assert detectors.detect_overfit(history((0.5, 0.4, 0.5), (0.6, 0.6, 0.3))) is None


def test_documents_that_gave_no_number_are_told() -> None:
    found = detectors.detect_nan(["doc-7"])
    assert found is not None
    assert (found.event, found.data["documents"]) == ("NAN", ["doc-7"])
    assert detectors.detect_nan([]) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unreadable": {"train": ["doc-3"]}}, "1 train document holds no token"),
        ({"labels_without_positives": {"validation": ["Sentencing"]}}, "on no validation document"),
        ({"labels_without_negatives": ["Filed"]}, "1 label is on every train document (Filed)"),
        ({"empty_predicted_share": 0.6, "empty_true_share": 0.1}, "60% of documents get no label"),
    ],
)
def test_emptiness_is_found_wherever_it_lies(changes: dict[str, Any], words: str) -> None:
    healthy: dict[str, Any] = {
        "unreadable": {"train": []},
        "labels_without_positives": {"train": [], "validation": []},
        "empty_predicted_share": 0.1,
        "empty_true_share": 0.05,
    }
    assert detectors.detect_empty(**healthy) is None
    found = detectors.detect_empty(**healthy | changes)
    assert found is not None
    assert found.event == "EMPTY"
    assert words in found.message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scheduler_steps": 400}, "400 schedule steps for 100"),
        ({"final_rate": 0.83e-5}, "final rate is 83% of the peak"),
        ({"warmup_steps": 40}, "warm-up took 40%"),
    ],
)
def test_a_schedule_that_is_off_is_found(changes: dict[str, Any], words: str) -> None:
    healthy: dict[str, Any] = {
        "optimizer_steps": 100,
        "scheduler_steps": 100,
        "planned_steps": 100,
        "warmup_steps": 10,
        "warmup_share": 0.1,
        "final_rate": 0.0,
        "peak_rate": 1e-5,
    }
    assert detectors.detect_schedule(**healthy) is None
    found = detectors.detect_schedule(**healthy | changes)
    assert found is not None
    assert found.event == "SCHEDULE"
    assert words in found.message


def test_a_training_stopped_early_is_judged_by_where_its_decay_should_be() -> None:
    facts: dict[str, Any] = {
        "optimizer_steps": 55,
        "scheduler_steps": 55,
        "planned_steps": 100,
        "warmup_steps": 10,
        "warmup_share": 0.1,
        "peak_rate": 1e-5,
    }
    assert detectors.detect_schedule(**facts, final_rate=0.5e-5) is None
    assert detectors.detect_schedule(**facts, final_rate=1e-5) is not None


def test_a_training_that_still_improves_at_its_end_is_found() -> None:
    course = history((0.6, 0.58, 0.4), (0.5, 0.5, 0.5), (0.4, 0.45, 0.6))
    found = detectors.detect_undertrained(course, select_on="map", planned_epochs=3)
    assert found is not None
    assert found.event == "UNDERTRAINED"
    assert detectors.detect_undertrained(HEALTHY, select_on="map", planned_epochs=4) is None
    assert detectors.detect_undertrained(course, select_on="map", planned_epochs=5) is None


def test_a_text_in_two_splits_is_a_leak() -> None:
    clean = [entry("a", "train", text="x", cluster=1), entry("b", "test", text="y", cluster=2)]
    same_text = [*clean, entry("c", "validation", text="x", cluster=3)]
    near_text = [*clean, entry("c", "validation", text="z", cluster=1)]
    assert detectors.detect_leak(clean) is None
    for leaking in (same_text, near_text):
        found = detectors.detect_leak(leaking)
        assert found is not None
        assert (found.event, found.severity, found.data["example"]) == ("LEAK", "error", "c")


def test_repeats_within_one_split_are_no_leak() -> None:
    twice = [entry("a", "train", text="x", cluster=1), entry("b", "train", text="x", cluster=1)]
    assert detectors.detect_leak(twice) is None


def test_cut_documents_are_counted_with_their_f1_by_length() -> None:
    total = np.array([100, 5000, 9000, 200])
    found = detectors.detect_truncated(
        tokens_seen=np.minimum(total, 4096),
        tokens_total=total,
        truth=TRUTH[:4],
        predicted=TRUTH[:4],
    )
    assert found is not None
    assert found.event == "TRUNCATED"
    assert found.data["documents_cut"] == 2
    assert found.data["share_seen"] == pytest.approx((100 + 4096 + 4096 + 200) / 14300)
    assert set(found.data["f1_by_length"]) == {"0-511", "4096-8191", "8192-16383"}
    assert detectors.detect_truncated(tokens_seen=total, tokens_total=total) is None


def test_thresholds_that_only_fit_their_own_documents_are_found() -> None:
    found = detectors.detect_threshold_overfit(resubstituted_f1=0.70, cross_fitted_f1=0.60)
    assert found is not None
    assert found.event == "THRESHOLD_OVERFIT"
    assert detectors.detect_threshold_overfit(resubstituted_f1=0.70, cross_fitted_f1=0.66) is None


def test_f1_by_length_is_scikit_learn_s_per_bucket() -> None:
    tokens = RANDOM.integers(0, 20_000, size=400)
    predicted = GOOD >= 0.4
    found = detectors.f1_by_length(tokens, TRUTH, predicted)
    chosen = (tokens >= 1024) & (tokens < 2048)
    expected = f1_score(TRUTH[chosen], predicted[chosen], average="micro")
    assert found["1024-2047"] == pytest.approx(expected)
    assert "16384+" in found


def test_importing_the_detectors_loads_no_torch() -> None:
    program = "import sys, postq.learning.detectors; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
