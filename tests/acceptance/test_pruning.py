"""A user clears up: old jobs, then the corpus and the bundle nothing stands on any more."""

import contextlib
import os
import shutil
import sqlite3
import time
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


def test_a_folder_that_no_bundle_names_is_told_by_doctor_and_goes_with_what_is_as_old(crowded: User) -> None:
    tag = crowded.asks("bundles", "list")[0]["path"].rpartition("-")[2]
    left = crowded.home / "bundles" / f"{'a' * 64}-{tag}"
    left.mkdir()
    os.utime(left, times=(time.time() - 2 * 86_400,) * 2)
    (told,) = [check for check in crowded.asks("doctor")["checks"] if check["check"] == "bundles"]
    assert str(left) in told["text"]
    assert "postq bundles add" in told["fix"]
    assert str(left) not in crowded.runs("prune", "--before", "3d").err
    assert str(left) not in crowded.runs("prune", "--before", "1d", "--kind", "train").err
    listed = crowded.runs("prune", "--before", "1d")
    assert f"note: {left}, which no bundle names, would be removed; add --yes to do it." in listed.messages
    done = crowded.runs("prune", "--before", "1d", "--yes")
    assert "Removed 1 folder that no bundle names." in done.messages
    assert not left.exists()


def test_what_is_no_age_is_told(crowded: User) -> None:
    answer = crowded.runs("prune", "--before", "yesterday", code=3)
    assert answer.messages == [
        "error: 'yesterday' is neither an age nor a date.",
        "hint: Write 90d, 12h, 8w, or a date such as 2026-01-31.",
    ]


@pytest.mark.postgres
def test_a_home_with_two_databases_is_told_by_doctor_and_each_removes_its_own_only(
    crowded: User, postgres_url: str
) -> None:
    # Given a user who goes on with a server, and has the bundle of before in the same home
    server = crowded.with_settings(database_url=postgres_url)
    server.runs("db", "upgrade")
    older = crowded.home / crowded.asks("bundles", "list")[0]["path"]
    server.runs("bundles", "add", older)
    # Then doctor says so, from either side
    told = [check for check in server.asks("doctor")["checks"] if check["check"] == "home"]
    assert any("postq.db is another database than the one in use" in check["text"] for check in told)
    tag = older.name.rpartition("-")[2]
    (others,) = [check for check in told if f"another database's, with the tag {tag}" in check["text"]]
    assert others["level"] == "note"
    assert "1 in bundles" in others["text"]
    assert "home of its own" in others["fix"]
    (back,) = [check for check in crowded.asks("doctor")["checks"] if "another database's" in check["text"]]
    assert "1 folder here is another database's" in back["text"]
    # And what the server removes is its own
    server.runs("bundles", "remove", "1", "--yes")
    server.runs("prune", "--before", "0d", "--yes")
    assert (older / "manifest.json").is_file()
    crowded.runs("verify", 1)


def test_a_bundle_whose_folder_bears_no_tag_is_removed_without_it_and_told(crowded: User) -> None:
    crowded.runs("rethreshold", "job:1", "--name", "second")
    (second,) = [one for one in crowded.asks("bundles", "list") if one["name"] == "second"]
    place = crowded.home / second["path"]
    older = place.rename(place.with_name(second["digest"]))
    with contextlib.closing(sqlite3.connect(crowded.home / "postq.db")) as connection, connection:
        changed = (f"bundles/{older.name}", second["path"])
        connection.execute("UPDATE bundle SET path = ? WHERE path = ?", changed)
    answer = crowded.runs("bundles", "remove", "second", "--yes")
    assert f"its folder {older} stays" in " ".join(answer.messages)
    assert (older / "manifest.json").is_file()
    told = [check["text"] for check in crowded.asks("doctor")["checks"] if older.name in check["text"]]
    assert len(told) == 1
    assert "no tag says whose it is" in told[0]
