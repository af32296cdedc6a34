"""Names and texts that are SQL, markup or terminal codes are data from the corpus file to the export."""

import json
from pathlib import Path

import pytest

from tests.acceptance.corpora import write_corpus
from tests.acceptance.user import User

pytestmark = pytest.mark.slow
LABELS = ["'; DROP TABLE prediction; --", '"; DELETE FROM job; --', "100% %(name)s :name ? \\' \x1b[2J"]


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> User:
    """A user whose corpus has hostile labels and document ids, trained on and classified."""
    folder = tmp_path_factory.mktemp("hostile")
    user = User(home=folder / "home")
    file = write_corpus(folder / "hostile.jsonl", documents=60, labels=LABELS)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines:
        line["documentId"] = f"'; DROP TABLE document; -- {line['documentId']}"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    user.runs("corpus", "add", "subjects", file)
    train = user.submits("submit-train", "subjects", "--preset", "tfidf", "--name", "hostile")
    user.submits("classify-corpus", "subjects", "--bundle", f"job:{train}", "--after", train)
    user.runs("up", "--cpu-workers", 1, "--until-idle")
    return user


def test_everything_is_done_and_stands_up(classified: User) -> None:
    assert [job["state"] for job in classified.asks("status")] == ["succeeded", "succeeded"]
    assert json.loads(classified.tries("verify", 2, "--json").out)["documents"]["predicted"] == 60


def test_labels_come_back_as_written_but_for_control_characters(classified: User) -> None:
    rows = json.loads(classified.tries("predictions", "show", "--job", 2, "--json").out)
    stored = {label["label"] for row in rows for label in row["labels"]}
    assert stored
    assert stored <= {label.replace("\x1b", "") for label in LABELS}


@pytest.mark.parametrize("option", ["--label", "--document"])
@pytest.mark.parametrize(
    "value", ["' OR '1'='1", "%", "'; DROP TABLE prediction; --x", '" OR ""="', "_%", "\\"]
)
def test_a_value_to_look_for_is_only_ever_compared(classified: User, option: str, value: str) -> None:
    answer = classified.tries("predictions", "show", "--job", 2, option, value, "--json")
    assert answer.code in (0, 3, 4), answer
    assert answer.code != 0 or json.loads(answer.out) == []


def test_a_hostile_label_and_document_are_found_by_name(classified: User) -> None:
    rows = json.loads(classified.tries("predictions", "show", "--job", 2, "--json").out)
    label = rows[0]["labels"][0]["label"]
    by_label = json.loads(classified.tries("predictions", "show", "--job", 2, "--label", label, "--json").out)
    assert rows[0]["document"] in [row["document"] for row in by_label]
    by_document = classified.tries(
        "predictions", "show", "--job", 2, "--document", rows[0]["document"], "--json"
    )
    assert json.loads(by_document.out) == [rows[0]]


@pytest.mark.parametrize(
    "name",
    ["x'; DROP TABLE corpus; --", "../../etc", "a/b", "", "x\x1b[2J", "job:1", "@x", "a" * 5000],
)
def test_a_name_that_could_be_mistaken_is_refused(classified: User, tmp_path: Path, name: str) -> None:
    before = len(classified.asks("corpus", "list"))
    answer = classified.tries("corpus", "add", name, write_corpus(tmp_path / "corpus.jsonl"))
    assert answer.code in (2, 3), answer
    assert "\x1b" not in answer.out + answer.err
    assert len(classified.asks("corpus", "list")) == before


@pytest.mark.parametrize("reference", ["' OR 1=1 --", "1 OR 1=1", "@x' --", "job:1; DROP TABLE job", "%"])
def test_a_reference_that_is_sql_finds_nothing(classified: User, reference: str) -> None:
    assert classified.tries("bundles", "show", reference).code in (3, 4)
    assert classified.tries("corpus", "show", reference).code in (3, 4)
    assert len(classified.asks("status")) == 2


def test_nothing_drives_the_terminal(classified: User) -> None:
    for words in (("predictions", "show", "--job", 2), ("status", 1), ("bundles", "show", "hostile")):
        answer = classified.tries(*words)
        assert answer.code == 0
        assert "\x1b" not in answer.out + answer.err
