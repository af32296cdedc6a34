"""Bundles side by side: only common documents and labels count, and a win needs an interval off zero."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from postq.errors import BadInput, LabelSetMismatch
from postq.reports.answer import comparison_facts
from postq.reports.comparing import Comparison, compare
from postq.reports.comparison_page import comparison_page, differing_settings
from postq.reports.content import Report
from postq.reports.stored import StoredBundle, read_bundle
from tests.unit.learning.opinions import training_data
from tests.unit.reports.material import make_tfidf
from tests.unit.reports.page_reader import read_page

ReportOf = Callable[..., Report]


@pytest.fixture(scope="module")
def bundles(tfidf_folder: Path, encoder_folder: Path) -> list[StoredBundle]:
    return [read_bundle(tfidf_folder), read_bundle(encoder_folder)]


@pytest.fixture(scope="module")
def reports(tfidf_folder: Path, encoder_folder: Path, report_of: ReportOf) -> list[Report]:
    return [report_of(tfidf_folder), report_of(encoder_folder)]


@pytest.fixture(scope="module")
def comparison(bundles: list[StoredBundle], reports: list[Report]) -> Comparison:
    return compare(bundles, reports)


def test_each_bundle_has_the_f1_scikit_learn_finds(
    comparison: Comparison, bundles: list[StoredBundle]
) -> None:
    for standing, bundle in zip(comparison.standings, bundles, strict=True):
        part = bundle.part("test")
        assert part is not None
        predicted = bundle.bundle.thresholds.decide(part.scores)
        assert standing.micro.value == pytest.approx(f1_score(part.truth, predicted, average="micro"))


def test_the_difference_is_to_the_first_and_the_winner_named_by_its_interval(comparison: Comparison) -> None:
    first, second = comparison.standings
    assert first.micro_difference is None
    assert second.micro_difference is not None
    assert second.micro_difference.high is not None
    assert second.micro_difference.high < 0
    assert second.sentence.startswith("In micro-F1 words beats reader by 0.")


def test_a_bundle_does_not_beat_itself(bundles: list[StoredBundle], reports: list[Report]) -> None:
    found = compare([bundles[0], bundles[0]], [reports[0], reports[0]])
    assert found.standings[1].micro_difference is not None
    assert found.standings[1].micro_difference.value == 0
    assert "In micro-F1 no winner can be named" in found.standings[1].sentence
    assert all(row.difference.value in (0, None) for row in found.rivalries[0].labels)


def test_equal_names_are_told_apart_by_number(bundles: list[StoredBundle], reports: list[Report]) -> None:
    found = compare([bundles[0], bundles[0]], [reports[0], reports[0]])
    assert found.titles == ("words (bundle 3)", "words (bundle 3)")


def test_only_documents_with_the_same_id_and_text_are_compared(
    bundles: list[StoredBundle], reports: list[Report]
) -> None:
    changed = tuple(
        replace(entry, content_hash=b"x" * 16) if entry.document_id == "test-3" else entry
        for entry in bundles[1].split
    )
    found = compare([bundles[0], replace(bundles[1], split=changed)], reports)
    assert found.documents == 79
    assert found.warnings[0].startswith("1 test document of words left out")


def test_bundles_without_a_common_document_are_refused(
    tmp_path: Path, bundles: list[StoredBundle], reports: list[Report], report_of: ReportOf
) -> None:
    make_tfidf(tmp_path / "other", data=training_data(seed=900))
    other = read_bundle(tmp_path / "other")
    with pytest.raises(LabelSetMismatch, match="share no test document"):
        compare([bundles[0], other], [reports[0], report_of(tmp_path / "other")])


def test_a_bundle_without_scores_is_refused_by_name(
    bundles: list[StoredBundle], reports: list[Report]
) -> None:
    with pytest.raises(BadInput, match="reader keeps no scores"):
        compare([bundles[0], replace(bundles[1], parts={})], reports)


def test_only_common_labels_are_compared(
    tmp_path: Path, bundles: list[StoredBundle], reports: list[Report], report_of: ReportOf
) -> None:
    data = training_data()
    make_tfidf(tmp_path / "fewer", data=replace(data, labels=data.labels[1:]))
    found = compare(
        [bundles[0], read_bundle(tmp_path / "fewer")], [reports[0], report_of(tmp_path / "fewer")]
    )
    assert found.labels == data.labels[1:]
    assert any("1 label of words" in warning for warning in found.warnings)


def test_label_differences_are_those_of_the_figures_beside_them(comparison: Comparison) -> None:
    rows = comparison.rivalries[0].labels
    assert [row.support for row in rows] == sorted((row.support for row in rows), reverse=True)
    for row in rows:
        if row.first is not None and row.other is not None:
            assert row.difference.value == pytest.approx(row.other - row.first)
    assert np.isfinite([row.difference.low for row in rows if row.difference.low is not None]).all()


def test_the_page_holds_both_and_says_how_they_were_made_apart(comparison: Comparison) -> None:
    page = read_page(comparison_page(comparison))
    assert page.text.startswith("words and reader · postq comparison")
    assert comparison.standings[1].sentence in page.text
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    differing, _ = differing_settings(comparison)
    assert ("model", ["tfidf", "encoder"]) in differing


def test_an_ensemble_and_a_member_beside_it_show_the_members_figures_once(comparison: Comparison) -> None:
    first, second = comparison.reports
    # Given a second bundle that carries the first one's rows with its own, as an ensemble does its members'
    ensemble = replace(second, comparison=(*second.comparison, *first.comparison))
    page = read_page(comparison_page(replace(comparison, reports=(first, ensemble))))
    member = first.comparison[0]
    assert page.texts.count(f"{member.model} on {member.place}") == 1


def test_the_answer_is_plain_json(comparison: Comparison) -> None:
    import json

    facts = json.loads(json.dumps(comparison_facts(comparison), allow_nan=False))
    assert facts["documents"] == 80
    assert facts["standings"][0]["micro_difference"] is None
