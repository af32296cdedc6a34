"""What a report says agrees with what was stored, and with the slow way to compute it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve

from postq.errors import LabelSetMismatch
from postq.learning.bundle import open_bundle
from postq.learning.detectors import Detection
from postq.learning.rethresholding import rethreshold_bundle
from postq.reports.answer import report_facts
from postq.reports.content import Report
from postq.reports.stored import StoredBundle, read_bundle
from postq.reports.subject import Evaluation, Note, Subject
from tests.unit.reports.material import make_encoder

ReportOf = Callable[..., Report]


@pytest.fixture(scope="module")
def stored(encoder_folder: Path) -> StoredBundle:
    return read_bundle(encoder_folder)


@pytest.fixture(scope="module")
def report(encoder_folder: Path, report_of: ReportOf) -> Report:
    return report_of(encoder_folder)


def test_the_headline_gives_figure_interval_and_what_it_was_measured_on(report: Report) -> None:
    default = report.raw["tracks"]["all"]["default"]
    assert report.headline.startswith("On 80 test documents that neither training nor tuning saw, reader ")
    assert f"micro-F1 {default['micro_f1']:.3f} (95" in report.headline
    assert (
        f"{default['micro_f1_interval'][0]:.3f} to {default['micro_f1_interval'][1]:.3f}" in report.headline
    )


def test_the_verdict_names_the_winner_only_when_the_interval_leaves_out_zero(
    report: Report, stored: StoredBundle
) -> None:
    against = stored.metrics["against_baseline"]
    assert report.verdict is not None
    for metric, clear in (("micro", report.verdict.micro_clear), ("macro", report.verdict.macro_clear)):
        low, high = against[f"{metric}_f1"]["interval"]
        assert clear == (low > 0 or high < 0)
    assert "the TF-IDF baseline wins" in report.verdict.sentence
    assert report.verdict.micro.value is not None
    assert report.verdict.micro.value < 0


def test_a_difference_that_may_be_zero_has_no_winner(
    tmp_path: Path, report_of: ReportOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_encoder(tmp_path / "b", monkeypatch, noise=0.7)
    verdict = report_of(tmp_path / "b").verdict
    assert verdict is not None
    assert not verdict.micro_clear
    assert "In micro-F1 no winner can be named" in verdict.sentence
    assert "micro-F1 reader wins" not in verdict.sentence


def test_every_model_stands_at_every_cut_with_its_cross_fitted_line(report: Report) -> None:
    found = {
        (row.model, row.cut) for row in report.comparison if row.on == "test" or row.cut == "cross_fitted"
    }
    assert found == {
        (model, cut)
        for model in ("reader", "TF-IDF baseline")
        for cut in ("half", "global", "default", "cross_fitted")
    }


def test_the_sweep_is_what_scikit_learn_computes_at_each_threshold(
    report: Report, stored: StoredBundle
) -> None:
    part, sweep = stored.part("test"), report.sweep
    assert part is not None
    assert sweep is not None
    for at in range(0, len(sweep.thresholds), 20):
        predicted = part.scores.astype(np.float64) >= sweep.thresholds[at]
        for average, values in (("micro", sweep.micro), ("macro", sweep.macro)):
            slow = f1_score(part.truth, predicted, average=average, zero_division=0)
            assert values[at] == pytest.approx(slow)


def test_the_pooled_curve_runs_through_scikit_learns_points(report: Report, stored: StoredBundle) -> None:
    part = stored.part("test")
    assert part is not None
    precision, recall, _ = precision_recall_curve(part.truth.ravel(), part.scores.ravel())
    exact = {(round(r, 9), round(p, 9)) for r, p in zip(recall, precision, strict=True)}
    curve = report.precision_recall[0]
    assert {(round(x, 9), round(y, 9)) for x, y in zip(curve.x, curve.y, strict=True)} <= exact
    assert curve.note == f"AP {average_precision_score(part.truth.ravel(), part.scores.ravel()):.2f}"
    assert report.precision_recall[1].pooled, "the baseline stands beside it"


def test_labels_stand_by_support_with_intervals_around_their_f1(report: Report) -> None:
    supports = [row.support for row in report.labels]
    assert supports == sorted(supports, reverse=True)
    known = [row for row in report.labels if row.f1.low is not None and row.f1.high is not None]
    assert known
    assert all((row.f1.low or 0) <= (row.f1.value or 0) <= (row.f1.high or 0) for row in known)
    assert all(row.source for row in report.labels)


def test_detectors_of_bundle_and_job_are_told_once_each(
    tmp_path: Path, report_of: ReportOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shy = Detection(event="SHY", severity="warning", message="The model predicts 3 labels where 90 are true.")
    make_encoder(tmp_path / "b", monkeypatch, detections=[shy])
    notes = (
        Note(job_id=7, event="SHY", message=shy.message, severity="warning"),
        Note(job_id=7, event="detector.leak", message="35 documents were left out.", severity="info"),
        Note(job_id=7, event="split", message="Stratified split.", severity="info"),
    )
    report = report_of(tmp_path / "b", notes=notes)
    events = [found.event for found in report.findings]
    assert events.count("SHY") == 1
    assert events.count("LEAK") == 1
    assert report.notes == ("split: Stratified split.",)


def test_a_test_document_with_a_twin_in_training_is_told_in_the_headline(
    tfidf_folder: Path, subject_of: Callable[..., Subject]
) -> None:
    from postq.reports.building import build_report

    stored = read_bundle(tfidf_folder)
    first = stored.split[0]
    assert first.split == "train"
    split = tuple(
        replace(entry, cluster=first.cluster) if entry.document_id == "test-5" else entry
        for entry in stored.split
    )
    report = build_report(subject_of(tfidf_folder), replace(stored, split=split))
    assert "One of these documents is a near-duplicate" in report.headline


def evaluation_of(report: dict[str, Any], *, split: str = "test", **leaks: object) -> Evaluation:
    documents = report["documents"]
    facts: dict[str, Any] = {"documents": 0, **leaks}
    return Evaluation(
        job_id=9, corpus="opinions v2", split=split, documents=documents, leaks=facts, report=report
    )


def test_figures_on_the_whole_test_split_do_not_stand_beside_an_evaluation_on_some_of_it(
    encoder_folder: Path, report_of: ReportOf, report: Report
) -> None:
    whole = report_of(encoder_folder, evaluation=evaluation_of(dict(report.raw)))
    assert (whole.verdict, whole.baseline_sentence) == (report.verdict, report.baseline_sentence)
    # When a later version of the corpus holds 79 of the 80 documents
    some = report_of(encoder_folder, evaluation=evaluation_of({**report.raw, "documents": 79}))
    assert some.verdict is None
    assert some.baseline_sentence.endswith("has no figures on these documents.")
    assert "On 79 test documents" in some.headline


def test_documents_that_an_evaluation_could_not_score_are_counted(
    tfidf_folder: Path, report_of: ReportOf
) -> None:
    evaluation = evaluation_of(dict(report_of(tfidf_folder).raw))
    some = report_of(tfidf_folder, evaluation=replace(evaluation, documents=evaluation.documents + 3))
    assert dict(some.data_facts)["left out, since they could not be scored"] == "3"


def test_the_baseline_is_tuned_as_the_encoder_is_and_not_said_to_be_when_it_is_not(
    tmp_path: Path, report_of: ReportOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_encoder(tmp_path / "b", monkeypatch, thresholds="global")
    assert read_bundle(tmp_path / "b").metrics["baseline"]["tuning"]["method"] == "global"
    assert "tuned by the same procedure" in report_of(tmp_path / "b").baseline_sentence
    rethreshold_bundle(open_bundle(tmp_path / "b"), method="half", name="reader", output=tmp_path / "c")
    assert "tuned by global where this is by half" in report_of(tmp_path / "c").baseline_sentence


def test_an_evaluation_without_the_training_corpus_does_not_pass_for_clean(
    tfidf_folder: Path, report_of: ReportOf
) -> None:
    raw = dict(report_of(tfidf_folder).raw)
    clean = report_of(tfidf_folder, evaluation=evaluation_of(raw, split="all"))
    assert "near-duplicates" not in clean.headline
    unknown = evaluation_of(raw, split="all", near_duplicates_unchecked=True)
    assert report_of(tfidf_folder, evaluation=unknown).headline.endswith("is not known.")


def test_how_often_the_test_split_was_looked_at_is_told(tfidf_folder: Path, report_of: ReportOf) -> None:
    facts = dict(report_of(tfidf_folder, test_touches=2).data_facts)
    assert facts["test split evaluated"] == "3 times: at the end of training and twice since"
    assert facts["near-duplicate clusters"] == "380 over 380 documents"


def test_a_label_the_bundle_does_not_know_is_refused(tfidf_folder: Path, report_of: ReportOf) -> None:
    with pytest.raises(LabelSetMismatch, match="no label 'appeal'"):
        report_of(tfidf_folder, labels=("appeal",))


def test_the_exact_recipe_is_in_the_configuration(report: Report, stored: StoredBundle) -> None:
    configuration = dict(report.configuration)
    assert configuration["learning_rate"] == "2e-05"
    assert configuration["split.seed"] == "42"
    assert dict(report.digests)["bundle digest"] == stored.bundle.digest


def test_the_answer_is_plain_json_without_the_points_of_curves(report: Report) -> None:
    import json

    facts = json.loads(json.dumps(report_facts(report), allow_nan=False))
    assert facts["headline"] == report.headline
    assert facts["comparison"][0]["micro"]["value"] == report.comparison[0].micro.value
    assert facts["stored"]["documents"] == 80
    assert "precision_recall" not in facts
