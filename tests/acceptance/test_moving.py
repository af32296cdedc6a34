"""A user outgrows the embedded database: a bundle goes along to another home and predicts the same there."""

import shutil
from pathlib import Path

import pytest

from tests.acceptance.journey import Journey
from tests.acceptance.refusal import refused_here
from tests.acceptance.user import User


@pytest.fixture
def folder(journey: Journey) -> Path:
    """The folder of the journey's bundle, in its home."""
    found: str = journey.user.asks("bundles", "list")[0]["path"]
    return journey.user.home / found


@pytest.mark.postgres
def test_a_bundle_brought_to_a_server_gives_the_digest_it_gave_at_home(
    journey: Journey, folder: Path, user: User, postgres_url: str
) -> None:
    # Given a new, empty database on a server and the corpus added there anew
    grown = user.with_settings(database_url=postgres_url)
    grown.runs("db", "upgrade")
    grown.runs("corpus", "add", "opinions", journey.user.home.parent / "opinions.jsonl.gz")
    # When the bundle is taken in, and classifies and is evaluated there
    assert "Bundle 1 is opinions-tfidf" in grown.runs("bundles", "add", folder).err
    with grown.working():
        grown.runs("classify-corpus", "opinions", "--bundle", "opinions-tfidf", "--wait")
        grown.runs("submit-eval", "opinions", "--bundle", "1", "--wait")
    # Then all is as it was
    before, after = journey.user.asks("verify", 3), grown.asks("verify", 1)
    assert after["digest"] == before["digest"]
    old, new = journey.user.asks("status", 2)["result"], grown.asks("status", 2)["result"]
    assert new["report"] == old["report"]


def test_a_snapshot_serves_where_the_source_of_a_corpus_is_lost(
    journey: Journey, folder: Path, user: User
) -> None:
    snapshot = journey.user.home / journey.user.asks("corpus", "show", "opinions@1")["path"]
    user.runs("corpus", "add", "opinions", snapshot / "documents.parquet", "--id-column", "document_id")
    user.runs("bundles", "add", folder)
    with user.working():
        user.runs("classify-corpus", "opinions", "--bundle", "opinions-tfidf", "--wait")
    assert user.asks("verify", 1)["digest"] == journey.user.asks("verify", 3)["digest"]


def test_a_bundle_taken_in_says_that_looks_at_its_test_split_are_not_known(folder: Path, user: User) -> None:
    assert "not known here" in user.runs("bundles", "add", folder).err
    assert "evaluated once: at the end of training; elsewhere not known" in (
        user.runs("bundles", "show", "opinions-tfidf").out
    )
    user.runs("rethreshold", "opinions-tfidf", "--name", "made-here")
    assert "elsewhere not known" in user.runs("bundles", "show", "made-here").out


def test_a_bundle_taken_in_twice_is_one_and_its_own_home_knows_it(
    journey: Journey, folder: Path, user: User
) -> None:
    numbers = [user.asks("bundles", "add", folder)["bundle"] for _ in range(2)]
    assert numbers == [1, 1]
    assert len(list((user.home / "bundles").iterdir())) == 1
    at_home = User(home=user.home.parent / "same")
    shutil.copytree(journey.user.home, at_home.home)
    assert "not known" not in at_home.runs("bundles", "add", folder).err
    assert [one["job"] for one in at_home.asks("bundles", "list")] == [1]


def test_a_bundle_whose_copy_here_was_damaged_since_is_mended_by_taking_it_in_again(
    folder: Path, user: User
) -> None:
    user.runs("bundles", "add", folder)
    (copy,) = (user.home / "bundles").iterdir()
    (copy / "README.md").write_text("other")
    refused_here(user, "rethreshold", "1", code=8, says="README.md")
    assert user.asks("bundles", "add", folder)["bundle"] == 1
    assert list((user.home / "bundles").iterdir()) == [copy]
    user.runs("rethreshold", "1", "--name", "made-here")


@pytest.mark.parametrize(
    ("spoil", "code", "says"),
    [
        (lambda copy: (copy / "README.md").write_text("other"), 8, "README.md"),
        (lambda copy: (copy / "labels.json").unlink(), 3, "labels.json"),
        (lambda copy: (copy / "run.py").write_text("1"), 3, "run.py"),
        (lambda copy: shutil.rmtree(copy), 3, "is not a bundle folder"),
    ],
)
def test_a_folder_that_is_no_whole_bundle_is_refused(
    folder: Path, user: User, tmp_path: Path, spoil: object, code: int, says: str
) -> None:
    assert callable(spoil)
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    spoil(copy)
    user.runs("bundles", "list")
    refused_here(user, "bundles", "add", copy, code=code, says=says)
