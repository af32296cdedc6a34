"""What cannot be done is refused in one sentence with one hint, and leaves nothing behind."""

import gzip
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.corpora import write_corpus
from tests.acceptance.journey import Journey
from tests.acceptance.refusal import refused, refused_here
from tests.acceptance.user import User

UNKNOWN = [
    (("submit-train", "nowhere", "--preset", "tfidf"), "no corpus 'nowhere'"),
    (("classify-corpus", "opinions@9", "--bundle", "@production"), "no corpus 'opinions@9'"),
    (("classify-corpus", "opinions", "--bundle", "nothing"), "no bundle 'nothing'"),
    (("submit-eval", "opinions", "--bundle", "@nobody"), "no alias '@nobody'"),
    (("submit-eval", "opinions", "--bundle", "99"), "no bundle 99"),
    (("submit-eval", "opinions", "--bundle", "job:99"), "no job 99"),
    (("submit-train", "opinions", "--preset", "tfidf", "--after", "99"), "no job 99"),
    (("submit-train", "opinions", "--preset", "tfdif"), "no recipe called 'tfdif'"),
    (("status", "99"), "no job 99"),
    (("cancel", "99"), "no job 99"),
    (("retry", "99"), "no job 99"),
    (("events", "99"), "no job 99"),
    (("corpus", "show", "opinion"), "no corpus 'opinion'"),
    (("bundles", "show", "opinions-tfdif"), "no bundle 'opinions-tfdif'"),
    (("bundles", "alias", "@x", "nothing"), "no bundle 'nothing'"),
    (("predictions", "show", "--job", "99"), "no job 99"),
    (("predictions", "export", "out.jsonl", "--job", "99"), "no job 99"),
    (("schedule", "run-now", "daily"), "no schedule 'daily'"),
]


@pytest.mark.parametrize(("words", "says"), UNKNOWN, ids=[" ".join(words) for words, _ in UNKNOWN])
def test_an_unknown_name_is_told(journey: Journey, words: tuple[str, ...], says: str) -> None:
    refused_here(journey.user, *words, code=4, says=says)


UNUSABLE = [
    (
        ("submit-train", "opinions", "--preset", "tfidf", "--set", "seed=1", "--seed", "2"),
        "'seed' is given twice",
    ),
    (("submit-train", "opinions", "--preset", "tfidf", "--set", "split.train=0.9"), "exceed 1 together"),
    (("predictions", "show", "--job", "1"), "is a training"),
    (("predictions", "export", "nothing.csv", "--job", "1"), "is a training"),
    (("report", "1", "--output", "report.pdf"), "no name for an HTML page"),
    (("submit-train", "opinions", "--preset", "tfidf", "--set", "folds=few"), "it must be a whole number"),
    (("submit-train", "opinions", "--preset", "tfidf", "--set", "epoch=3"), "no field 'epoch'"),
    (("submit-train", "opinions", "--preset", "tfidf", "--set", "folds=1"), "'folds'"),
    (("submit-train", "opinions", "--preset", "tfidf", "--set", "folds"), "NAME=VALUE"),
    (("submit-train", "opinions", "--preset", "tfidf", "--devices", "all"), "Only encoders"),
    (("submit-train", "opinions", "--preset", "tfidf", "--memory", "plenty"), "'plenty' is not a size"),
    (("submit-train", "opinions", "--preset", "tfidf", "--name", "../x"), "cannot be the name of a bundle"),
    (("submit-train", "opinions", "--preset", "tfidf", "--name", "7"), "cannot be the name of a bundle"),
    (("bundles", "alias", "@two words", "job:1"), "cannot be an alias"),
    (("corpus", "add", "7", "new.jsonl.gz"), "cannot name a corpus"),
    (("corpus", "add", "cases"), "No file or folder"),
    (("corpus", "add", "cases", "--split", "half=new.jsonl.gz"), "which split"),
    (("corpus", "validate", "nothing.jsonl"), "no file or folder 'nothing.jsonl'"),
    (("predictions", "export", "out.txt", "--job", "3"), "format of 'out.txt'"),
    (("predictions", "show", "--quarantined"), "needs a job"),
    (("predictions", "show", "--label", "On Apeal"), "No bundle knows a label 'On Apeal'"),
    (("predictions", "export", "out.csv", "--job", "3", "--label", "x"), "bundle of job 3 does not know"),
    (("submit-train", "opinions", "--preset", "tiny-longformer"), "backbone of your own, and none is named"),
    (
        ("schedule", "add", "x", "--cron", "every day", "--corpus", "opinions", "--bundle", "job:1"),
        "every day",
    ),
    (
        (
            *("schedule", "add", "x", "--cron", "0 2 * * *", "--tz", "Berlin"),
            "--corpus",
            "opinions",
            "-b",
            "1",
        ),
        "Berlin",
    ),
]


@pytest.mark.parametrize(("words", "says"), UNUSABLE, ids=[" ".join(words) for words, _ in UNUSABLE])
def test_a_wrong_value_is_told(journey: Journey, words: tuple[str, ...], says: str) -> None:
    refused_here(journey.user, *words, code=3, says=says)


CONFLICTS = [
    (("cancel", "1"), "already ended"),
    (("retry", "1"), "is succeeded"),
    (("submit-train", "opinions", "--preset", "recipe-tfidf", "--idempotency-key", "first"), "'first'"),
    (
        (*("schedule", "add", "nightly", "--cron", "0 2 * * *"), "--corpus", "opinions", "--bundle", "job:1"),
        "'nightly' already",
    ),
    (("corpus", "remove", "opinions@1"), "stand on corpus opinions@1"),
    (("bundles", "remove", "job:1"), "bundle 1 "),
]


@pytest.mark.parametrize(("words", "says"), CONFLICTS, ids=[" ".join(words) for words, _ in CONFLICTS])
def test_what_the_state_forbids_is_told(journey: Journey, words: tuple[str, ...], says: str) -> None:
    refused_here(journey.user, *words, code=5, says=says)


def test_each_kind_of_refusal_looks_the_same_from_a_process(journey: Journey) -> None:
    for cases, code in ((UNKNOWN, 4), (UNUSABLE, 3), (CONFLICTS, 5)):
        words, says = cases[0]
        refused(journey.user, *words, code=code, says=says)


def test_labels_that_do_not_fit_are_told(journey: Journey) -> None:
    folder = journey.user.home.parent
    write_corpus(folder / "subjects.jsonl")
    journey.user.runs("corpus", "add", "subjects", "subjects.jsonl")
    words = ("submit-eval", "subjects", "--bundle", "@production", "--split", "all")
    refused(journey.user, *words, code=3, says="share no label")


def test_a_corpus_without_labels_says_so_at_once_and_is_not_trained_on(user: User) -> None:
    row = {"id": 1, "text": "one two three four five six seven eight nine ten", "topics": "tax"}
    (user.home.parent / "bare.jsonl").write_text(json.dumps(row))
    labelled = user.tries("corpus", "add", "labelled", "bare.jsonl", "--labels-column", "topics")
    assert (labelled.code, "labels" in labelled.err) == (0, False)
    assert "--labels-column names the field" in user.runs("corpus", "add", "bare", "bare.jsonl").err
    refused(user, "submit-train", "bare", "--preset", "tfidf", code=3, says="no labels to train on")
    assert user.asks("status") == []


def test_a_check_of_a_useless_file_shows_the_records_set_aside_and_what_to_name(user: User) -> None:
    (user.home.parent / "odd.jsonl").write_text('{"key": "a-1", "body": "words"}\n')
    answer = user.tries("corpus", "validate", "odd.jsonl")
    assert (answer.code, "missing_id" in answer.out) == (3, True)
    assert "no 'id' among 'key', 'body'" in answer.err
    assert "--id-column" in answer.err


def damaged(kind: str, folder: Path) -> Path:
    """A file that cannot be read as a corpus."""
    whole = write_corpus(folder / "whole.jsonl").read_bytes()
    content = {
        "truncated.jsonl.gz": gzip.compress(whole)[:-200],
        "not-gzip.jsonl.gz": whole,
        "binary.jsonl": bytes(range(256)) * 64,
        "empty.jsonl": b"",
        "unusable.jsonl": b'{"nothing": "to read"}\n' * 5,
        "list.json": b'[{"id": "1", "text": "one two three"}]',
        "odd.xyz": b"what is this\n",
    }[kind]
    (folder / kind).write_bytes(content)
    return folder / kind


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("truncated.jsonl.gz", "cut off"),
        ("not-gzip.jsonl.gz", "not-gzip"),
        ("binary.jsonl", "binary"),
        ("empty.jsonl", "empty"),
        ("unusable.jsonl", "usable document"),
        ("list.json", "one JSON list"),
        ("odd.xyz", "form of"),
    ],
)
def test_a_file_that_is_no_corpus_adds_nothing(user: User, kind: str, says: str) -> None:
    user.home.mkdir(parents=True)
    refused_here(user, "corpus", "add", "cases", damaged(kind, user.home.parent), code=3, says=says)
    assert user.asks("corpus", "list") == []
    assert list((user.home / "corpora").glob("*")) == []


def test_one_unreadable_file_among_good_ones_adds_nothing(user: User) -> None:
    good = write_corpus(user.home.parent / "good.jsonl")
    bad = damaged("truncated.jsonl.gz", user.home.parent)
    refused(user, "corpus", "add", "cases", good, bad, code=3, says="cut off")
    assert user.asks("corpus", "list") == []


def test_a_backbone_that_is_not_there_fails_the_job_at_once_and_tells_why(
    user: User, corpus_file: Callable[..., Path]
) -> None:
    user.runs("corpus", "add", "subjects", corpus_file())
    with user.working():
        words = ("--preset", "tiny-longformer", "--backbone", "./no/such/model", "--wait")
        answer = user.runs("submit-train", "subjects", *words, code=10)
    assert "failed" in answer.out
    assert "no/such/model" in answer.out
    assert "hint: " in answer.out
    (job,) = user.asks("status")
    assert job["state"] == "failed"
    assert len(user.asks("status", 1)["attempts"]) == 1, "bad input is not retried"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"lease_seconds": "soon"}, "'lease_seconds'"),
        ({"log_format": "xml"}, "'log_format'"),
        ({"attention": "fastest"}, "'attention'"),
        ({"products": "quick"}, "'products'"),
        ({"home": " "}, "'home' is not usable: it is empty"),
        ({"database_url": ""}, "'database_url' is not usable: it is empty"),
        ({"broker_url": ""}, "'broker_url' is not usable: it is empty"),
        (
            {"broker_url": "kafka://u:hunter2@host"},
            "'broker_url' is not usable: it must begin with .*amqp://",
        ),
    ],
)
def test_a_setting_with_a_wrong_value_is_told(user: User, settings: dict[str, str], says: str) -> None:
    refused_here(user.with_settings(**settings), "status", code=6, says=says)


@pytest.mark.parametrize(("text", "says"), [("home = [", "TOML"), ("hom = '/x'", "'hom'")])
def test_a_settings_file_that_is_wrong_is_told(user: User, text: str, says: str) -> None:
    file = user.home.parent / "postq.toml"
    file.write_text(text)
    refused_here(user, "--config", file, "status", code=6, says=says)


def test_a_settings_file_that_is_not_there_is_told(user: User) -> None:
    refused(user, "--config", "missing.toml", "status", code=6, says=r"no settings file '.*missing\.toml'")


def test_a_home_that_is_a_file_is_told(user: User) -> None:
    user.home.write_text("not a folder")
    refused(user, "status", code=6, says="cannot")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; see the read-only disk below")
def test_a_home_that_may_not_be_written_is_told(user: User) -> None:
    user.home.mkdir()
    user.home.chmod(0o555)
    refused(user, "status", code=6, says="cannot")


def test_a_schema_newer_than_the_code_is_told_by_every_command(user: User) -> None:
    user.runs("status")
    with sqlite3.connect(user.home / "postq.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for words in (("status",), ("corpus", "list"), ("db", "upgrade"), ("submit-train", "x")):
        refused_here(user, *words, code=7, says="9999, newer than this postq")
    for words in (("up",), ("worker",)):
        refused(user, *words, code=7, says="9999, newer than this postq")
    assert user.tries("db", "current").out.startswith("9999")
    assert "9999" in user.tries("doctor").out


def test_a_file_that_is_no_database_is_told(user: User) -> None:
    user.home.mkdir()
    (user.home / "postq.db").write_bytes(b"this is not a database, but quite long enough" * 100)
    refused(user, "status", code=6, says="cannot be used")


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("cancel",),
        ("retry",),
        ("events",),
        ("verify",),
        ("submit-train", "opinions", "--after"),
        ("predictions", "export", "-", "--job"),
    ],
    ids=lambda words: words[0],
)
def test_a_number_that_no_database_holds_is_wrong_usage(journey: Journey, words: tuple[str, ...]) -> None:
    refused_here(journey.user, *words, str(2**63), code=2, says="must be at most 9223372036854775807")


def test_wrong_usage_is_two(user: User) -> None:
    for words in (("statsu",), ("status", "seven"), ("submit-train",), ("status", "--state", "done")):
        refused_here(user, *words, code=2, says=r"No such|Invalid|Missing")
        assert "--help" in user.tries(*words).messages[1]
