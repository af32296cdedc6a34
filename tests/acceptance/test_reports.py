"""`postq report` and `postq compare` on the bundles of a lived-through journey, as a user runs them."""

import json
from pathlib import Path

import pytest

from tests.acceptance.journey import Journey
from tests.acceptance.refusal import refused, refused_here
from tests.acceptance.user import User
from tests.unit.reports.page_reader import read_page

pytestmark = pytest.mark.slow


def test_a_training_is_reported_as_a_table_with_its_sentence(journey: Journey) -> None:
    answer = journey.user.runs("report", 1)
    assert "neither training nor tuning saw, opinions-tfidf reaches micro-F1" in answer.out
    for heading in ("at 0.5", "default", "cross-fitted", "mAP", "test split evaluated"):
        assert heading in answer.out
    assert answer.err == ""


def test_job_name_and_alias_mean_the_same_bundle(journey: Journey) -> None:
    first = journey.user.asks("report", "job:1")
    for reference in ("opinions-tfidf", "@production", "bundle:1"):
        assert journey.user.asks("report", reference) == first
    assert first["kind"] == "tfidf"
    assert first["data_facts"]["test split evaluated"] == "twice: at the end of training and once since"


def test_the_page_is_one_file_that_a_browser_can_read(journey: Journey, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    answer = journey.user.runs("report", 1, "--output", target)
    assert answer.out == ""
    assert str(target) in answer.err
    page = read_page(target.read_text(encoding="utf-8"))
    assert "opinions-tfidf" in page.text
    assert list(tmp_path.glob(".*")) == []


def test_an_evaluation_is_reported_on_what_it_evaluated(journey: Journey) -> None:
    facts = journey.user.asks("report", 2)
    job = journey.user.asks("status", 2)
    assert facts["on"] == "test"
    assert facts["stored"]["documents"] == job["result"]["documents"]
    assert facts["comparison"][0]["model"] == "opinions-tfidf (job 2)"
    assert facts["watermark"] == ""


def test_a_bundle_compared_with_itself_has_no_winner(journey: Journey, tmp_path: Path) -> None:
    facts = journey.user.asks("compare", "job:1", "@production")
    assert facts["standings"][1]["micro_difference"]["value"] == 0
    answer = journey.user.runs("compare", 1, "@production", "-o", tmp_path / "both.html")
    assert "both.html" in answer.err
    assert "no winner can be named" in journey.user.runs("compare", 1, "@production").out
    read_page((tmp_path / "both.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("report", "99"), 4, "no job 99"),
        (("report", "bundle:99"), 4, "no bundle 99"),
        (("report", "opinions-tfdif"), 4, "no bundle 'opinions-tfdif'"),
        (("report", "3"), 3, "is a classification"),
        (("report", "1", "--label", "nonsense"), 3, "no label 'nonsense'"),
        (("report", "1", "--output", "missing/report.html"), 6, "cannot be written"),
        (("compare", "1", "99"), 4, "no job 99"),
    ],
)
def test_what_cannot_be_reported_is_told(
    journey: Journey, words: tuple[str, ...], code: int, says: str
) -> None:
    refused_here(journey.user, *words, code=code, says=says)


def test_comparing_one_bundle_is_wrong_usage(journey: Journey) -> None:
    answer = journey.user.tries("compare", "1")
    assert answer.code == 2
    assert "two bundles or more" in answer.err


def test_a_job_without_a_result_yet_is_told(user: User, tmp_path: Path) -> None:
    from tests.acceptance.corpora import write_corpus

    user.home.parent.mkdir(parents=True, exist_ok=True)
    write_corpus(tmp_path / "c.jsonl")
    user.runs("corpus", "add", "subjects", tmp_path / "c.jsonl")
    user.runs("submit-train", "subjects", "--preset", "tfidf")
    refused(user, "report", 1, code=5, says=r"Job 1 \(ready\) has no result to report yet")


def test_a_bundle_changed_after_training_is_not_reported(journey: Journey) -> None:
    (bundle,) = journey.user.asks("bundles", "list")
    metrics = journey.user.home / bundle["path"] / "metrics.json"
    kept = metrics.read_bytes()
    mode = metrics.stat().st_mode
    try:
        metrics.chmod(0o600)
        facts = json.loads(kept)
        facts["test"]["tracks"]["all"]["default"]["micro_f1"] = 1.0
        metrics.write_text(json.dumps(facts))
        refused_here(journey.user, "report", 1, code=8, says=r"metrics\.json")
    finally:
        metrics.write_bytes(kept)
        metrics.chmod(mode)
