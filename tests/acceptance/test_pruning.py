"""A user clears up: old jobs, then the corpus and the bundle nothing stands on any more."""

import shutil
from pathlib import Path

import pytest

from tests.acceptance.journey import Journey
from tests.acceptance.user import User


@pytest.fixture
def crowded(journey: Journey, tmp_path: Path) -> User:
    """A user of a copy of the journey's home: six jobs, two versions of a corpus, one bundle."""
    home = tmp_path / "crowded"
    shutil.copytree(journey.user.home, home)
    return User(home=home)


def test_without_yes_old_jobs_are_only_listed_with_the_reason_some_stay(crowded: User) -> None:
    jobs = len(crowded.asks("status"))
    listed = crowded.runs("prune", "--before", "0d")
    assert "a schedule builds on its predictions" in listed.out
    assert "it is the newest job" in listed.out
    assert "would be forgotten; add --yes" in listed.err
    assert len(crowded.asks("status")) == jobs


def test_what_is_forgotten_is_gone_and_the_rest_stands_up(crowded: User) -> None:
    going = {old["job"] for old in crowded.asks("prune", "--before", "0d") if not old["kept"]}
    assert going
    answer = crowded.runs("prune", "--before", "0d", "--yes")
    assert f"Forgot {len(going)} job" in answer.err
    left = {job["job"] for job in crowded.asks("status")}
    assert left
    assert not left & going
    for job_id in left:
        crowded.runs("verify", job_id)
    crowded.runs("status", min(going), code=4)


def test_a_schedule_still_skips_what_was_scored_before_the_prune(crowded: User) -> None:
    crowded.runs("prune", "--before", "0d", "--yes")
    crowded.runs("schedule", "run-now", "nightly")
    assert "nothing new" in crowded.asks("status")[0]["reason"]


def test_corpus_and_bundle_go_when_nothing_stands_on_them(crowded: User) -> None:
    crowded.runs("corpus", "remove", "opinions@1", "--yes", code=5)
    crowded.runs("bundles", "remove", "job:1", "--yes", code=5)
    file = crowded.home.parent / "extra.jsonl"
    crowded.runs("corpus", "synthesize", file, "--documents", 20, "--median-words", 50)
    crowded.runs("corpus", "add", "extra", file)
    (extra,) = [corpus for corpus in crowded.asks("corpus", "list") if corpus["name"] == "extra"]
    asked = crowded.runs("corpus", "remove", "extra")
    assert "add --yes" in asked.err
    assert (crowded.home / extra["path"]).is_dir()
    crowded.runs("corpus", "remove", "extra", "--yes")
    assert not (crowded.home / extra["path"]).exists()
    crowded.runs("corpus", "show", "extra", code=4)


def test_what_is_no_age_is_told(crowded: User) -> None:
    answer = crowded.runs("prune", "--before", "yesterday", code=3)
    assert answer.messages == [
        "error: 'yesterday' is neither an age nor a date.",
        "hint: Write 90d, 12h, 8w, or a date such as 2026-01-31.",
    ]
