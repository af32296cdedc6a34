"""`postq verify`: what holds is proved, and what was tampered with is told, on rows and on disk."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.journey import DOCUMENTS, NEW, Journey
from tests.acceptance.user import User

pytestmark = pytest.mark.slow
TRAINED, EVALUATED, CLASSIFIED, NOTHING_NEW, ONLY_NEW = range(1, 6)


@pytest.fixture
def tampered(journey: Journey, tmp_path: Path) -> User:
    """A user of a copy of the journey's home, to be spoiled."""
    home = tmp_path / "spoiled"
    shutil.copytree(journey.user.home, home)
    return User(home=home)


def change(user: User, *statements: str) -> None:
    """Change rows behind postq's back."""
    with closing(sqlite3.connect(user.home / "postq.db")) as raw, raw:
        for statement in statements:
            assert raw.execute(statement).rowcount > 0, statement


def weights_of(user: User) -> Path:
    (bundle,) = user.asks("bundles", "list")
    return next((user.home / bundle["path"]).rglob("*.safetensors"))


@pytest.mark.parametrize("job", [TRAINED, EVALUATED, CLASSIFIED, NOTHING_NEW, ONLY_NEW])
def test_every_job_of_a_journey_stands_up(journey: Journey, job: int) -> None:
    found = json.loads(journey.user.tries("verify", job, "--json").out)
    assert found["verified"] is True
    assert found["problems"] == []
    assert found["coverage_checked"] is (job >= CLASSIFIED)


def test_the_proof_says_what_was_counted_and_hashed(journey: Journey) -> None:
    found = journey.user.asks("verify", CLASSIFIED)
    assert found["documents"] == {
        "total": DOCUMENTS,
        "predicted": DOCUMENTS,
        "quarantined": 0,
        "skipped": 0,
    }
    assert journey.user.asks("verify", ONLY_NEW)["documents"]["predicted"] == NEW
    told = journey.user.runs("verify", CLASSIFIED).out
    assert f"{DOCUMENTS} predicted + 0 quarantined + 0 skipped = {DOCUMENTS} of {DOCUMENTS}" in told
    assert "every file matches its manifest" in told
    assert found["digest"] in told
    assert told.endswith("Verified.\n")


def test_two_runs_without_a_fault_have_the_same_digest(tampered: User) -> None:
    first = tampered.asks("verify", CLASSIFIED)["digest"]
    in_small_shards = tampered.with_settings(shard_documents="7")
    with in_small_shards.working():
        again = in_small_shards.submits("classify-corpus", "opinions@1", "-b", "@production")
        tampered.runs("status", again, "--watch")
    assert len(tampered.asks("status", again)["shards"]) == 1
    assert tampered.asks("status", again)["shards"]["done"] > 20
    assert tampered.asks("verify", again)["digest"] == first


def test_a_job_that_is_not_there_is_not_found(journey: Journey) -> None:
    assert "There is no job 99" in journey.user.runs("verify", 99, code=4).err


def test_a_job_that_has_not_ended_says_that_coverage_is_still_open(tampered: User) -> None:
    job = tampered.submits("classify-corpus", "opinions@1", "-b", "@production")
    found = tampered.asks("verify", job)
    assert (found["verified"], found["coverage_checked"], found["state"]) == (True, False, "ready")
    assert "complete only once the job has succeeded" in tampered.runs("verify", job).out


def spoil_one_byte(user: User) -> None:
    content = bytearray(weights_of(user).read_bytes())
    content[-1] ^= 1
    weights_of(user).write_bytes(content)


def spoil_by_a_link(user: User) -> None:
    weights = weights_of(user)
    weights.rename(user.home / "elsewhere")
    weights.symlink_to(user.home / "elsewhere")


def spoil_by_an_extra_file(user: User) -> None:
    (weights_of(user).parent / "more.json").write_text("{}")


def spoil_by_removal(user: User) -> None:
    shutil.rmtree(weights_of(user).parent)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (spoil_one_byte, "is not the file its manifest describes"),
        (spoil_by_a_link, "is a link"),
        (spoil_by_an_extra_file, "does not belong"),
        (spoil_by_removal, "is not a bundle folder"),
    ],
)
def test_a_bundle_folder_that_was_tampered_with_is_told(
    tampered: User, spoil: Callable[[User], None], told: str
) -> None:
    spoil(tampered)
    for job in (TRAINED, CLASSIFIED):
        answer = tampered.tries("verify", job)
        assert answer.code == 8
        assert told in answer.err
        assert "1 problem" in answer.out
        assert "its files do not match" in answer.out


def one_job(table: str, then: str = "") -> str:
    return f"DELETE FROM {table} WHERE job_id = {CLASSIFIED} {then}"


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        ([one_job("prediction", "AND row = 3")], "159 predictions and 0 quarantined documents are stored"),
        (
            [
                one_job("prediction", "AND row = 3"),
                f"UPDATE job SET documents_predicted = documents_predicted - 1 WHERE id = {CLASSIFIED}",
            ],
            f"of {DOCUMENTS} documents the job accounts for {DOCUMENTS - 1}",
        ),
        (
            [f"UPDATE prediction SET row = 100000 WHERE job_id = {CLASSIFIED} AND row = 3"],
            "past the fence",
        ),
        (
            [f"UPDATE attempt SET token = token - 1 WHERE job_id = {CLASSIFIED}"],
            "past the fence",
        ),
        (
            [f"UPDATE prediction SET content_hash = x'00' WHERE job_id = {CLASSIFIED} AND row = 3"],
            "1 prediction is of other text",
        ),
        (
            [f"UPDATE prediction SET fingerprint = x'00' WHERE job_id = {CLASSIFIED} AND row = 3"],
            "another fingerprint or bundle",
        ),
        (
            [one_job("event", "AND type = 'job.state' AND to_state = 'running'")],
            "but the state was ready",
        ),
        (["UPDATE bundle SET fingerprint = x'00'"], "other fingerprint than its files"),
    ],
)
def test_rows_that_were_tampered_with_are_told(tampered: User, statements: list[str], told: str) -> None:
    change(tampered, *statements)
    answer = tampered.tries("verify", CLASSIFIED, "--json")
    assert answer.code == 8
    found = json.loads(answer.out)
    assert found["verified"] is False
    assert any(told in problem for problem in found["problems"])
    assert answer.err.startswith("error: Job 3 does not stand up to verification: ")


def test_a_changed_score_changes_the_digest(tampered: User) -> None:
    before = tampered.asks("verify", CLASSIFIED)["digest"]
    change(
        tampered,
        f"UPDATE prediction SET scores = zeroblob(length(scores)) WHERE job_id = {CLASSIFIED} AND row = 3",
    )
    assert tampered.asks("verify", CLASSIFIED)["digest"] != before
