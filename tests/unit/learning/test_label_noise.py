"""Confident learning finds planted label errors, far better than chance, and leaves clean labels alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from postq.contracts.document import Document
from postq.contracts.recipes import TfidfRecipe
from postq.errors import NotTrainable
from postq.learning.bundle import Bundle
from postq.learning.bundle.score_file import ScoredPart
from postq.learning.data import TrainingData
from postq.learning.label_noise import FEWEST_POSITIVES, find_label_noise
from postq.learning.logits import logit, sigmoid
from postq.learning.suspects import find_suspects
from tests.unit.learning.opinions import training_data
from tests.unit.learning.test_bundle import write
from tests.unit.learning.test_ensemble import train

Bools = NDArray[np.bool_]


def planted(*, documents: int = 2000, errors: int = 60, seed: int = 0) -> tuple[Bools, Bools, Any]:
    """True labels, given labels with `errors` of them flipped, and honest scores of a decent model."""
    random = np.random.default_rng(seed)
    true = random.random((documents, 4)) < np.array([0.4, 0.2, 0.1, 0.05])
    given = true.copy()
    carried, missing = np.argwhere(true), np.argwhere(~true)
    for pool in (carried, missing):
        for document, label in pool[random.choice(len(pool), errors // 2, replace=False)]:
            given[document, label] ^= True
    scores = sigmoid(np.where(true, 2.0, -3.0) + random.normal(0, 1.3, true.shape)).astype(np.float32)
    return true, given, scores


def precision_of_first(count: int, true: Bools, given: Bools, scores: Any) -> float:
    noise = find_label_noise(given, scores)
    doubtful = np.argwhere(noise.missing | noise.wrong)
    margins = np.array([noise.margins[document, label] for document, label in doubtful])
    first = doubtful[np.argsort(margins, kind="stable")[:count]]
    return float(np.mean([true[document, label] != given[document, label] for document, label in first]))


def test_planted_errors_lead_the_ranking() -> None:
    true, given, scores = planted()
    chance = float((true != given).mean())
    assert chance < 0.01
    assert precision_of_first(30, true, given, scores) >= 0.9
    assert precision_of_first(60, true, given, scores) >= 0.8


def test_scores_need_not_be_calibrated() -> None:
    true, given, scores = planted()
    for shift in (-2.5, 2.5):
        moved = sigmoid(logit(scores) + shift).astype(np.float32)
        noise = find_label_noise(given, moved)
        doubtful = noise.missing | noise.wrong
        assert (doubtful & (true != given)).sum() >= 33
        assert precision_of_first(30, true, given, moved) >= 0.7


def test_few_labels_of_a_clean_corpus_are_doubtful() -> None:
    true, _, _ = planted()
    sure = sigmoid(np.where(true, 6.0, -6.0) + np.random.default_rng(1).normal(0, 1, true.shape))
    noise = find_label_noise(true, sure.astype(np.float32))
    assert not (noise.missing | noise.wrong).any()
    assert noise.missing_rate.tolist() == noise.wrong_rate.tolist() == [0.0] * 4


def test_the_rates_estimate_how_many_errors_there_are() -> None:
    _, given, scores = planted(documents=4000, errors=400)
    noise = find_label_noise(given, scores)
    expected = noise.wrong_rate @ given.sum(axis=0) + noise.missing_rate @ (~given).sum(axis=0)
    assert 300 < float(expected) < 500


def test_a_document_is_judged_by_the_means_of_both_sides() -> None:
    scores = np.array([[0.9], [0.8], [0.85], [0.7], [0.05], [0.9], [0.2], [0.1], [0.15], [0.05], [0.3]])
    given = np.array([[True]] * 5 + [[False]] * 6)
    noise = find_label_noise(given, scores)
    # Given: the mean is 0.66; not given: the mean of 1 − score is 0.7167.
    assert np.flatnonzero(noise.missing).tolist() == [5]
    assert np.flatnonzero(noise.wrong).tolist() == [4]
    assert noise.margins[5, 0] == pytest.approx(1 - 2 * 0.9)
    assert noise.margins[4, 0] == pytest.approx(2 * 0.05 - 1)
    assert noise.wrong_rate[0] == pytest.approx(1 / 5)  # four surely carry it, one surely lacks it
    assert noise.missing_rate[0] == pytest.approx(1 / 5)  # four surely lack it, 0.3 is sure of nothing


def test_labels_with_little_to_go_by_are_left_out() -> None:
    given = np.zeros((50, 3), np.bool_)
    given[: FEWEST_POSITIVES - 1, 0] = True
    given[:, 1] = True
    noise = find_label_noise(given, np.random.default_rng(0).random((50, 3)))
    assert noise.judged.tolist() == [False, False, False]
    assert not (noise.missing | noise.wrong).any()


def flipped(data: TrainingData, flips: int) -> tuple[TrainingData, set[tuple[str, str]]]:
    """The data with `flips` labels of training documents taken away or put on, and which they were."""
    random = np.random.default_rng(3)
    changed: set[tuple[str, str]] = set()
    train: list[Document] = list(data.train)
    for at in random.choice(len(train), flips, replace=False).tolist():
        label = data.labels[int(random.integers(len(data.labels)))]
        held = set(train[at].labels) ^ {label}
        train[at] = replace(train[at], labels=tuple(sorted(held)))
        changed.add((train[at].document_id, label))
    return replace(data, train=train), changed


def test_a_trained_bundle_names_the_flips_that_were_planted_in_its_corpus(tmp_path: Path) -> None:
    data, changed = flipped(training_data(train=400, validation=60, test=40, labels=4), 24)
    found = find_suspects(train(tmp_path, "noisy", data))
    first = [(one.document_id, one.label) for one in found.items[:24]]
    chance = len(changed) / (460 * 4)
    assert chance < 0.015
    assert sum(one in changed for one in first) / 24 >= 0.6
    assert [one.rank for one in found.items] == list(range(1, len(found.items) + 1))
    assert {one.model for one in found.items} == {"main"}
    assert (found.documents, found.labels_left_out) == (460, ())
    for one in found.items:
        assert (one.problem == "missing") == (one.label not in _labels(data, one.document_id))


def _labels(data: TrainingData, name: str) -> tuple[str, ...]:
    return next(each.labels for each in (*data.train, *data.validation) if each.document_id == name)


def part_of(model: str, names: list[str], truth: Bools, scores: Any, *, part: Any = "tuning") -> ScoredPart:
    return ScoredPart(
        part=part,
        model=model,
        document_ids=names,
        word_counts=np.full(len(names), 100),
        truth=truth,
        scores=scores,
    )


def test_the_baseline_judges_what_the_encoder_learned_from_and_the_test_split_is_left_alone(
    tmp_path: Path,
) -> None:
    _, given, scores = planted(documents=300, errors=30)
    given, scores = given[:, :2], scores[:, :2]
    names = [f"d{at}" for at in range(300)]
    bundle: Bundle = write(
        tmp_path / "encoder",
        recipe=TfidfRecipe(),
        scores=[
            part_of("main", names[:100], given[:100], scores[:100]),
            part_of("baseline", names[:200], given[:200], scores[:200]),
            part_of("main", names[200:], given[200:], scores[200:], part="test"),
        ],
    )
    found = find_suspects(bundle)
    assert found.documents == 200
    by_model = {
        model: {int(one.document_id[1:]) for one in found.items if one.model == model}
        for model in ("main", "baseline")
    }
    assert by_model["main"]
    assert max(by_model["main"]) < 100
    assert by_model["baseline"]
    assert 100 <= min(by_model["baseline"]) <= max(by_model["baseline"]) < 200


def test_a_bundle_without_honest_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotTrainable, match="no honest scores"):
        find_suspects(write(tmp_path / "bare"))
