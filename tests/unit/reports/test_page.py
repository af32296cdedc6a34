"""The page: self-contained, escaped, accessible, the same bytes every time, with every section."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from postq.reports.content import Report
from postq.reports.page import SECTIONS, report_page
from postq.reports.subject import Evaluation, Note
from tests.unit.reports.material import HOSTILE
from tests.unit.reports.page_reader import Page, read_page

ReportOf = Callable[..., Report]


@pytest.fixture(scope="module")
def encoder_html(encoder_folder: Path, report_of: ReportOf) -> str:
    return report_page(report_of(encoder_folder))


@pytest.fixture(scope="module")
def encoder_page(encoder_html: str) -> Page:
    return read_page(encoder_html)


def test_the_page_fetches_nothing_and_runs_nothing(encoder_html: str, encoder_page: Page) -> None:
    names = {name for name, _ in encoder_page.tags}
    assert names & {"script", "link", "iframe", "img", "object", "embed", "base", "form"} == set()
    for _, attributes in encoder_page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "@import" not in encoder_html
    assert re.findall(r"url\((?!#)", encoder_html) == []
    policies = [one for one in encoder_page.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert (policies[0]["content"] or "").startswith("default-src 'none'")


def test_every_section_is_there_and_linked(encoder_page: Page) -> None:
    ids = {attributes.get("id") for attributes in encoder_page.all("section")}
    links = {attributes.get("href") for attributes in encoder_page.all("a")}
    assert ids == {anchor for anchor, _ in SECTIONS}
    assert links == {f"#{anchor}" for anchor in ids}


def test_every_id_is_there_once_and_every_reference_finds_its_own(
    encoder_html: str, encoder_page: Page
) -> None:
    ids = [attributes["id"] for _, attributes in encoder_page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"url\(#([^)]+)\)", encoder_html))
    used |= {(one.get("xlink:href") or "#")[1:] for one in encoder_page.all("use")}
    assert used
    assert used <= set(ids)


def test_every_figure_has_words_and_every_table_headers(encoder_page: Page) -> None:
    pictures = [attributes for name, attributes in encoder_page.tags if attributes.get("role") == "img"]
    assert len(pictures) == len(encoder_page.all("figure")) >= 7
    assert all(len(one.get("aria-label") or "") > 20 for one in pictures)
    assert len(encoder_page.all("caption")) == len(encoder_page.all("table"))
    assert all(one.get("scope") in ("col", "row", "rowgroup") for one in encoder_page.all("th"))


def test_the_same_facts_give_the_same_bytes(
    encoder_html: str, encoder_folder: Path, report_of: ReportOf
) -> None:
    assert report_page(report_of(encoder_folder)) == encoder_html


def test_hostile_label_names_are_shown_and_never_obeyed(hostile_folder: Path, report_of: ReportOf) -> None:
    html = report_page(report_of(hostile_folder, labels=HOSTILE))
    page = read_page(html)
    assert page.all("script") == []
    assert "<script" not in html
    assert "{{ 7 * 7 }}" in page.text
    for name in HOSTILE:
        assert " ".join(name.split()) in page.text
    drawn = [text for text in page.texts if "AP" in text and "$x_1$" in text]
    assert drawn, "the name stands in the plot as it is, not as a formula"


def test_names_in_another_direction_are_set_apart_from_the_text_around(
    hostile_folder: Path, report_of: ReportOf
) -> None:
    assert "<bdi>פסק דין סופי</bdi>" in report_page(report_of(hostile_folder))


def test_without_kept_scores_the_page_is_made_and_says_what_is_missing(
    tmp_path: Path, report_of: ReportOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.unit.reports.material import make_tfidf

    monkeypatch.setattr("postq.learning.bundle.score_file.MAX_STORED_BYTES", 0)
    make_tfidf(tmp_path / "b")
    assert not (tmp_path / "b" / "scores.parquet").exists()
    report = report_of(tmp_path / "b")
    page = read_page(report_page(report))
    assert report.no_curves
    assert report.no_curves in page.text
    assert "Precision against recall" not in page.text
    assert "Calibration" in page.text
    assert all(row.f1.low is None for row in report.labels)


def test_a_leaked_evaluation_carries_its_watermark_in_every_section(
    tfidf_folder: Path, report_of: ReportOf
) -> None:
    plain = report_of(tfidf_folder)
    mark = "CONTAMINATED: trained or tuned on 12 of 80 documents"
    evaluation = Evaluation(
        job_id=9,
        corpus="opinions v1",
        split="all",
        documents=80,
        leaks={"documents": 12, "watermark": mark},
        report=plain.raw,
    )
    note = Note(job_id=9, event="detector.leak", message=mark, severity="info")
    report = report_of(tfidf_folder, evaluation=evaluation, notes=(note,))
    html = report_page(report)
    page = read_page(html)
    assert report.watermark == mark
    assert [found.event for found in report.findings].count("LEAK") == 0
    assert page.texts.count(mark) == len(SECTIONS) + 1
    assert 'class="watermark"' in html
    assert "some of which it was trained or tuned on" in page.text
    assert 'class="watermark"' not in report_page(plain)
