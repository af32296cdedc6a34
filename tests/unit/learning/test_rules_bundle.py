"""A bundle decides by its rules wherever it decides, keeps their evidence, and loses them when asked to."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from postq.contracts.device import Device
from postq.contracts.document import Document, SplitName
from postq.contracts.recipes import TfidfRecipe
from postq.errors import BadInput, BundleUnusable, NotTrainable
from postq.learning.bundle import Bundle, fingerprint, open_bundle, write_bundle
from postq.learning.bundle.manifest import (
    DESCRIPTIVE_FILES,
    LABELS,
    MANIFEST,
    THRESHOLDS,
    Manifest,
    describe_files,
)
from postq.learning.bundle.score_file import ScoredPart, read_scores
from postq.learning.bundle.split_file import read_split
from postq.learning.data import SplitEntry, TrainingData
from postq.learning.drift import sketch
from postq.learning.ensemble.making import make_ensemble
from postq.learning.evaluation import evaluate_bundle
from postq.learning.hooks import Hooks
from postq.learning.metrics.counts import summary
from postq.learning.proposing import kept_rules, proposed_from_bundle
from postq.learning.rejudging import read_metrics
from postq.learning.rethresholding import link_files, rethreshold_bundle
from postq.learning.thresholds.cross_fit import cross_fitted_predictions
from postq.learning.training import train_bundle
from tests.unit.learning import planted
from tests.unit.learning.opinions import document

CPU = Device(kind="cpu", name="cpu", memory_bytes=2**33)
RECIPE = TfidfRecipe(regularisation=(4.0,), folds=3, max_features=300)
SIZES: dict[SplitName, int] = {"train": 300, "validation": 100, "test": 100}


def documents() -> Iterator[Document]:
    """Each label shows as a word of its own; `weak` shows as the word of `strong` only."""
    truth, _ = planted.planted(sum(SIZES.values()))
    random = np.random.default_rng(5)
    splits = [split for split, size in SIZES.items() for _ in range(size)]
    for row, (carried, split) in enumerate(zip(truth, splits, strict=True)):
        words = [f"word{each}" for each in random.integers(0, 60, 25)]
        words += [f"sign{at}" for at in np.flatnonzero(carried) if at != 1] * 2
        labels = tuple(planted.LABELS[at] for at in np.flatnonzero(carried))
        yield document(" ".join(words), row=row, labels=labels, document_id=f"{split}-{row}", split=split)


def data() -> TrainingData:
    every = list(documents())
    entries = [
        SplitEntry(
            document_id=one.document_id, content_hash=one.content_hash, cluster=at, split=one.split or "train"
        )
        for at, one in enumerate(every)
    ]
    train, validation, test = ([one for one in every if one.split == split] for split in SIZES)
    return TrainingData(
        train=train,
        validation=validation,
        test=test,
        labels=("strong", "weak", "other"),
        manifest=entries,
        corpus="planted@1",
    )


def trained_by(recipe: TfidfRecipe, folder: Path) -> Bundle:
    train_bundle(recipe, data(), output=folder, name="ruled", device=CPU, hooks=Hooks())
    return open_bundle(folder)


def noisy(bundle: Bundle, folder: Path, *, without_training: bool = False) -> Bundle:
    """The bundle with scores of `weak` that say nothing, so that the rule has something to mend."""
    random = np.random.default_rng(9)

    def spoilt(part: ScoredPart) -> ScoredPart:
        scores = part.scores.copy()
        scores[:, 1] = random.random(len(scores))
        rows = [
            at
            for at, name in enumerate(part.document_ids)
            if not (without_training and part.part == "tuning" and name.startswith("train"))
        ]
        return replace(
            part,
            document_ids=[part.document_ids[at] for at in rows],
            word_counts=part.word_counts[rows],
            truth=part.truth[rows],
            scores=scores[rows],
        )

    return write_bundle(
        folder,
        kind=bundle.kind,
        name="noisy",
        labels=bundle.labels,
        thresholds=bundle.thresholds,
        split=read_split(bundle.path),
        metrics=read_metrics(bundle),
        recipe=bundle.recipe,
        corpus=bundle.manifest.corpus,
        write_model_files=lambda place: link_files(bundle, place, without=DESCRIPTIVE_FILES | {LABELS}),
        scores=[spoilt(part) for part in read_scores(bundle.path).values()],
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return trained_by(RECIPE, tmp_path_factory.mktemp("plain") / "bundle")


@pytest.fixture(scope="module")
def spoilt(plain: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return noisy(plain, tmp_path_factory.mktemp("spoilt") / "bundle")


@pytest.fixture(scope="module")
def ruled(spoilt: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("ruled") / "bundle"
    rethreshold_bundle(spoilt, method="micro_macro", name="ruled", output=folder, rules="implications")
    return open_bundle(folder)


def test_a_bundle_without_rules_says_nothing_of_them(plain: Bundle) -> None:
    for name in (MANIFEST, THRESHOLDS, "metrics.json"):
        assert "rules" not in json.loads((plain.path / name).read_text())
    assert "rules" not in json.loads((plain.path / MANIFEST).read_text())["recipe"]


def test_training_judges_rules_and_predicts_as_ever_where_none_is_kept(plain: Bundle, tmp_path: Path) -> None:
    judged = trained_by(RECIPE.model_copy(update={"rules": "implications"}), tmp_path / "bundle")
    facts = read_metrics(judged)["rules"]
    assert [(each["given"], each["other"]) for each in facts["candidates"]] == [("strong", "weak")]
    assert facts["mined_on"] == SIZES["train"]
    assert not facts["kept"], "the model sees the words of `strong`, so that the rule adds nothing"
    assert judged.thresholds.rules is None
    assert np.array_equal(judged.thresholds.values, plain.thresholds.values)
    again = rethreshold_bundle(judged, method=RECIPE.thresholds, name="again", output=tmp_path / "again")
    assert read_metrics(again)["rules"] == facts, "stored truths give what the training's documents gave"


def test_rules_that_help_are_kept_with_their_evidence(spoilt: Bundle, ruled: Bundle) -> None:
    assert fingerprint(ruled) != fingerprint(spoilt)
    assert ruled.model_digest == spoilt.model_digest
    kept, facts = ruled.thresholds.rules, read_metrics(ruled)["rules"]
    assert kept is not None
    assert [(each.given, each.other) for each in kept.rules] == [("strong", "weak")]
    both = [one for one in data().train if {"strong", "weak"} <= set(one.labels)]
    assert kept.rules[0].together == len(both)
    assert kept.gain.mean_f1.low > 0
    assert kept_rules(read_metrics(ruled)) == kept
    assert facts["kept"]


def test_every_figure_is_that_of_the_rules(ruled: Bundle) -> None:
    part = read_scores(ruled.path)["main", "tuning"]
    test = read_scores(ruled.path)["main", "test"]
    decided = ruled.thresholds.decide(test.scores)
    reached = test.scores >= ruled.thresholds.values
    assert (decided[:, 1] == reached[:, 1] | reached[:, 0]).all()
    assert (decided != reached).any()
    reported = read_metrics(ruled)["test"]
    assert [one["predicted"] for one in reported["by_label"]] == decided.sum(axis=0).tolist()
    evaluated = evaluate_bundle(ruled, data().test, test.scores, seed=RECIPE.seed)
    assert evaluated["tracks"]["all"] == reported["tracks"]["all"]
    assert sketch(test.scores, ruled.thresholds.decision).predicted.tolist() == decided.sum(axis=0).tolist()
    tuning, gain = read_metrics(ruled)["tuning"], read_metrics(ruled)["rules"]["gain"]["micro_f1"]["value"]
    without = cross_fitted_predictions(part.truth, part.scores, method="micro_macro", seed=RECIPE.seed)
    before = summary(part.truth, without)["micro_f1"]
    assert tuning["cross_fitted"]["micro_f1"] == pytest.approx(before + gain, abs=1e-6)


def test_thresholds_tuned_anew_keep_the_kind_of_rules_and_off_takes_them_away(
    spoilt: Bundle, ruled: Bundle, tmp_path: Path
) -> None:
    again = rethreshold_bundle(ruled, method="micro_macro", name="again", output=tmp_path / "again")
    assert fingerprint(again) == fingerprint(ruled)
    off = rethreshold_bundle(ruled, method="micro_macro", name="off", output=tmp_path / "off", rules="off")
    assert off.thresholds.rules is None
    assert "rules" not in read_metrics(off)
    plainly = rethreshold_bundle(spoilt, method="micro_macro", name="plainly", output=tmp_path / "plainly")
    assert fingerprint(off) == fingerprint(plainly)


def test_without_labels_of_training_documents_rules_come_from_the_list_or_not_at_all(
    plain: Bundle, ruled: Bundle, tmp_path: Path
) -> None:
    bare = noisy(plain, tmp_path / "bare", without_training=True)
    with pytest.raises(NotTrainable, match="no labels of its training documents"):
        rethreshold_bundle(bare, method="half", name="x", output=tmp_path / "x", rules="implications")
    tuning = read_scores(bare.path)["main", "tuning"]
    found = proposed_from_bundle("implications", bare, tuning, read_metrics(ruled))
    assert found is not None
    assert ruled.thresholds.rules is not None
    assert tuple(found.propose(None)) == ruled.thresholds.rules.rules
    assert found.mined_on == SIZES["train"]


@pytest.mark.parametrize("method", ["and", "or", "cascade"])
def test_ensembles_of_decisions_refuse_members_with_rules(ruled: Bundle, tmp_path: Path, method: Any) -> None:
    other = trained_by(RECIPE.model_copy(update={"ngram_max": 1}), tmp_path / "other")
    with pytest.raises(BadInput, match="decides by rules between labels"):
        make_ensemble([ruled, other], name="both", output=tmp_path / "both", method=method)


def test_an_ensemble_of_scores_takes_no_rules_over_and_may_have_its_own(
    ruled: Bundle, tmp_path: Path
) -> None:
    other = trained_by(RECIPE.model_copy(update={"ngram_max": 1}), tmp_path / "other")
    both = make_ensemble([ruled, other], name="both", output=tmp_path / "both")
    assert both.thresholds.rules is None
    own = rethreshold_bundle(
        both, method="micro_macro", name="own", output=tmp_path / "own", rules="implications"
    )
    assert read_metrics(own)["rules"]["mined_on"] == SIZES["train"]


def test_a_forged_rule_is_not_opened(ruled: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "forged"
    folder.mkdir()
    link_files(ruled, folder, without=frozenset({THRESHOLDS, MANIFEST}))
    text = (ruled.path / THRESHOLDS).read_text().replace('"given": "strong"', '"given": "strange"')
    (folder / THRESHOLDS).write_text(text)
    manifest = json.loads((ruled.path / MANIFEST).read_text())
    sealed = Manifest.model_validate(
        {**manifest, "files": [each.model_dump() for each in describe_files(folder)]}
    )
    (folder / MANIFEST).write_text(sealed.sealed().model_dump_json())
    with pytest.raises(BundleUnusable, match="does not hold thresholds"):
        open_bundle(folder)
