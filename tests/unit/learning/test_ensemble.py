"""Ensembles combine what members score, hold their members, and are used like any other bundle."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from postq.contracts.device import Device
from postq.contracts.recipes import EnsembleMethod, TfidfRecipe
from postq.contracts.scoring import DocumentFailure
from postq.errors import BadInput, BundleUnusable, DigestMismatch, LabelSetMismatch, LeakRefused
from postq.learning.bundle import Bundle, fingerprint, open_bundle
from postq.learning.bundle.manifest import model_digest
from postq.learning.bundle.opening import read_manifest
from postq.learning.bundle.score_file import read_scores
from postq.learning.data import TrainingData
from postq.learning.ensemble import held_out
from postq.learning.ensemble import scorer as scorer_module
from postq.learning.ensemble.choosing import choose
from postq.learning.ensemble.combining import Combination, best_weights
from postq.learning.ensemble.making import make_ensemble
from postq.learning.ensemble.scorer import window_documents
from postq.learning.hooks import Hooks
from postq.learning.logits import logit
from postq.learning.rejudging import read_metrics, stored_scores
from postq.learning.rethresholding import rethreshold_bundle
from postq.learning.scorer import Scorer
from postq.learning.scoring import load_scorer
from postq.learning.training import train_bundle
from tests.unit.learning.opinions import document, training_data

CPU = Device(kind="cpu", name="cpu", memory_bytes=2**33)
QUICK: dict[str, Any] = {"regularisation": (4.0,), "folds": 3, "max_features": 500}
DATA = training_data(train=90, validation=40, test=40, labels=4)


def train(folder: Path, name: str, data: TrainingData = DATA, **changes: Any) -> Bundle:
    recipe = TfidfRecipe(**QUICK, **changes)
    train_bundle(recipe, data, output=folder / name, name=name, device=CPU, hooks=Hooks())
    return open_bundle(folder / name)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    """Two TF-IDF bundles of one split; the second knows fewer words and does not balance."""
    folder = tmp_path_factory.mktemp("members")
    return [train(folder, "one"), train(folder, "two", class_weight=None, min_df=4, ngram_max=1)]


@pytest.fixture(scope="module")
def both(members: list[Bundle], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_ensemble(members, name="both", output=tmp_path_factory.mktemp("ensemble") / "both")


def scored(bundle: Bundle, documents: Any, failures: list[DocumentFailure] | None = None) -> dict[int, Any]:
    """Scores by row."""
    told = failures if failures is not None else []
    scorer: Scorer = load_scorer(bundle, CPU)
    batches = list(scorer.score(documents, on_failure=told.append))
    return {
        row: scores
        for batch in batches
        for row, scores in zip(batch.rows.tolist(), batch.scores, strict=True)
    }


def test_scores_are_the_weighted_mean_of_the_members_logits(members: list[Bundle], both: Bundle) -> None:
    weights = np.array(json.loads((both.path / "ensemble.json").read_text())["weights"])
    one, two, joint = (scored(each, DATA.test) for each in (*members, both))
    assert sorted(joint) == sorted(one)
    for row, scores in joint.items():
        mean = weights * logit(one[row]) + (1 - weights) * logit(two[row])
        np.testing.assert_allclose(scores, 1 / (1 + np.exp(-mean)), atol=1e-6)


@pytest.mark.parametrize("method", ["and", "or"])
def test_and_or_decide_as_the_members_do(
    method: EnsembleMethod, members: list[Bundle], tmp_path: Path
) -> None:
    made = make_ensemble(members, name="careful", output=tmp_path / "made", method=method)
    decisions = []
    for bundle in (*members, made):
        found = scored(bundle, DATA.test)
        decisions.append(bundle.thresholds.decide(np.array([found[row] for row in sorted(found)])))
    one, two, joint = decisions
    assert (joint == (one & two if method == "and" else one | two)).all()
    assert (one != two).any()


def test_decisions_at_and_beside_a_threshold_survive_rounding() -> None:
    cut = np.array([0.3, 0.9, 2.0])
    at = np.array([[0.3, 0.9, 1.0]], np.float32)
    near = [np.nextafter(at, np.float32(0)), at, np.nextafter(at, np.float32(1)), np.zeros_like(at)]
    for left in near:
        for right in near:
            for method, joined in (("and", np.logical_and), ("or", np.logical_or)):
                combination = Combination(method=method, weights=(0.5, 0.5, 0.5))
                scores = combination.combine([left, right], thresholds=[cut, cut])
                assert (
                    (scores >= 0.5) == joined(left.astype(float) >= cut, right.astype(float) >= cut)
                ).all()
                assert ((scores >= 0) & (scores <= 1)).all()


def test_stored_scores_are_what_the_ensemble_scores(both: Bundle) -> None:
    test = read_scores(both.path)[("main", "test")]
    found = scored(both, DATA.test)
    rows = {each.document_id: each.row for each in DATA.test}
    live = np.array([found[rows[name]] for name in test.document_ids])
    np.testing.assert_allclose(live, test.scores, atol=1e-6)


def test_weights_follow_the_better_member_and_are_shrunk_to_a_half() -> None:
    random = np.random.default_rng(0)
    truth = np.zeros((400, 3), np.bool_)
    truth[:200, 0] = True
    truth[:4, 1] = True
    good = np.where(truth, 0.8, 0.2) + random.normal(0, 0.05, truth.shape)
    noise = random.uniform(0.05, 0.95, truth.shape)
    good, noise = (np.clip(each, 0.01, 0.99).astype(np.float32) for each in (good, noise))
    first = best_weights(truth, good, noise)
    second = best_weights(truth, noise, good)
    assert first[0] > 0.7
    assert second[0] < 0.3
    assert 0.5 <= first[1] < 0.6  # four positives tell little
    assert first[2] == second[2] == 0.5  # none tell nothing
    np.testing.assert_allclose(best_weights(truth, good, good), 0.5)


def test_the_folder_is_whole_in_itself_and_the_members_are_not_needed(
    members: list[Bundle], both: Bundle, tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(both.path, alone)
    moved = open_bundle(alone, expected_digest=both.digest)
    assert fingerprint(moved) == fingerprint(both)
    assert sorted(scored(moved, DATA.test)) == sorted(each.row for each in DATA.test)
    linked = both.path / "members" / "0" / "manifest.json"
    assert linked.stat().st_ino == (members[0].path / "manifest.json").stat().st_ino
    assert [each["digest"] for each in read_metrics(both)["members"]] == [each.digest for each in members]


def test_a_changed_member_is_noticed(both: Bundle, tmp_path: Path) -> None:
    forged = tmp_path / "forged"
    shutil.copytree(both.path, forged)
    thresholds = forged / "members" / "1" / "thresholds.json"
    thresholds.write_bytes(thresholds.read_bytes().replace(b"0.", b"1.", 1))
    with pytest.raises(DigestMismatch):
        open_bundle(forged)


def test_the_fingerprint_covers_the_members(members: list[Bundle], both: Bundle, tmp_path: Path) -> None:
    again = make_ensemble(members, name="both", output=tmp_path / "again")
    assert (again.digest, fingerprint(again)) == (both.digest, fingerprint(both))
    turned = make_ensemble(members[::-1], name="both", output=tmp_path / "turned")
    assert fingerprint(turned) != fingerprint(both)


def test_a_document_one_member_cannot_score_fails_once(both: Bundle) -> None:
    known = DATA.test[0]
    strange = document("zzqx qqzw xxwv", row=999)
    failures: list[DocumentFailure] = []
    found = scored(both, [strange, known], failures)
    assert [failure.row for failure in failures] == [999]
    assert list(found) == [known.row]


def test_figures_are_tuned_and_judged_by_the_usual_procedure(both: Bundle) -> None:
    metrics = read_metrics(both)
    assert metrics["tuning"]["on"] == "out_of_fold"
    assert both.thresholds.documents == 130
    assert {row["model"] for row in metrics["comparison"]} == {"both", "one", "two"}
    assert metrics["test"]["documents"] == 40
    new = both.path.parent / "half"
    half = rethreshold_bundle(both, method="half", name="both-half", output=new)
    assert open_bundle(new, expected_digest=half.digest).kind == "ensemble"
    assert sorted(scored(half, DATA.test[:3])) == sorted(each.row for each in DATA.test[:3])


def test_an_ensemble_can_be_a_member(members: list[Bundle], both: Bundle, tmp_path: Path) -> None:
    nested = make_ensemble([both, members[0]], name="nested", output=tmp_path / "nested", method="or")
    assert sorted(scored(nested, DATA.test)) == sorted(each.row for each in DATA.test)


def test_members_that_do_not_fit_are_refused(members: list[Bundle], tmp_path: Path) -> None:
    one = members[0]
    with pytest.raises(BadInput, match="same model"):
        make_ensemble([one, one], name="x", output=tmp_path / "x")
    other_labels = train(tmp_path, "labels", training_data(train=90, validation=40, test=40, labels=3))
    with pytest.raises(LabelSetMismatch, match="predicts 4 labels"):
        make_ensemble([one, other_labels], name="x", output=tmp_path / "x")
    shuffled = training_data(train=90, validation=40, test=40, labels=4, seed=7)
    other_split = TrainingData(
        train=shuffled.train,
        validation=shuffled.validation,
        test=shuffled.test,
        labels=DATA.labels,
        manifest=shuffled.manifest,
        corpus=DATA.corpus,
    )
    with pytest.raises(LeakRefused, match="divided the documents differently"):
        make_ensemble([one, train(tmp_path, "split", other_split)], name="x", output=tmp_path / "x")
    with pytest.raises(BadInput, match="reads"):
        make_ensemble([one, train(tmp_path, "view", text="paragraphs")], name="x", output=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_a_combination_that_does_not_fit_its_labels_is_refused(both: Bundle, tmp_path: Path) -> None:
    from postq.learning.ensemble.combining import read_combination

    with pytest.raises(BundleUnusable, match="weighs"):
        read_combination(both.path, labels=99)
    with pytest.raises(BundleUnusable, match="missing"):
        read_combination(tmp_path, labels=4)


def test_with_an_encoder_progress_is_told_more_often(
    members: list[Bundle], both: Bundle, tmp_path: Path
) -> None:
    nested = make_ensemble([both, members[0]], name="nested", output=tmp_path / "nested", method="or")
    assert window_documents(nested, CPU) == 2048
    manifest = nested.path / "members" / "0" / "members" / "1" / "manifest.json"
    found = read_manifest(manifest.parent)
    forged = found.model_copy(
        update={
            "kind": "encoder",
            "model_digest": model_digest(found.files, kind="encoder", recipe=found.recipe),
        }
    )
    manifest.unlink()  # a hard link: the member itself stays as it is
    manifest.write_text(forged.sealed().model_dump_json())
    assert window_documents(nested, CPU) == 16
    assert window_documents(nested, Device(kind="cuda", name="gpu", memory_bytes=2**35)) == 512


@pytest.mark.parametrize("method", ["mean_logit", "cascade"])
def test_how_documents_are_grouped_changes_no_score(
    method: EnsembleMethod, members: list[Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_ensemble(members, name="made", output=tmp_path / "made", method=method)
    whole = scored(made, DATA.test)
    monkeypatch.setattr(scorer_module, "WINDOW_DOCUMENTS", 7)
    parts = scored(made, DATA.test)
    assert sorted(whole) == sorted(parts)
    assert all((whole[row] == parts[row]).all() for row in whole)


@pytest.mark.parametrize("method", ["mean_logit", "and", "or", "cascade"])
def test_a_tuning_document_has_no_say_in_the_score_it_is_judged_by(
    method: EnsembleMethod, members: list[Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given what two members were tuned on, and the same with the truth of every third document turned round
    own = [stored_scores(member, metrics=read_metrics(member)).tuning for member in members]
    fold = np.arange(len(own[0].truth)) % 3
    monkeypatch.setattr(held_out, "assigned_folds", lambda first, members: fold)
    turned = [replace(part, truth=part.truth ^ (fold == 1)[:, None]) for part in own]
    # When both are combined
    plain, other = (
        choose(method, parts, members, own=parts, on="out_of_fold", defer_share=0.2).scores
        for parts in (own, turned)
    )
    # Then these documents' scores are the same to the last bit, and those that learned from them are not
    assert plain[fold == 1].tobytes() == other[fold == 1].tobytes()
    assert (plain[fold != 1] != other[fold != 1]).any()
