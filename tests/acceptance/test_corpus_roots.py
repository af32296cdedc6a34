"""`postq corpus add` reads below the configured roots only, by whatever road a path would lead out."""

from pathlib import Path

import pytest

from tests.acceptance.corpora import write_corpus
from tests.acceptance.user import User


@pytest.fixture
def confined(user: User, tmp_path: Path) -> User:
    """A user who may read corpora in `inside` alone; a corpus lies there and another one outside."""
    (tmp_path / "inside").mkdir()
    write_corpus(tmp_path / "inside" / "mine.jsonl")
    write_corpus(tmp_path / "outside.jsonl")
    (tmp_path / "inside" / "link.jsonl").symlink_to(tmp_path / "outside.jsonl")
    (tmp_path / "inside" / "folder").symlink_to(tmp_path)
    return user.with_settings(corpus_roots=f'["{tmp_path / "inside"}"]')


@pytest.mark.parametrize(
    "path",
    [
        "outside.jsonl",
        "inside/../outside.jsonl",
        "inside/link.jsonl",
        "inside/folder/outside.jsonl",
        "file://{here}/outside.jsonl",
        "file://{here}/inside/../outside.jsonl",
        "local://{here}/outside.jsonl",
        "memory://inside/x.jsonl",
        "http://169.254.169.254/latest/meta-data",
        "s3://bucket/corpus.jsonl",
        "simplecache::file://{here}/outside.jsonl",
        "/etc/passwd",
    ],
)
@pytest.mark.parametrize("words", [("corpus", "add", "stolen"), ("corpus", "validate")])
def test_what_lies_outside_the_roots_is_refused(
    confined: User, tmp_path: Path, path: str, words: tuple[str, ...]
) -> None:
    answer = confined.tries(*words, path.format(here=tmp_path))
    assert answer.code == 3, answer
    assert "lies outside the folders" in answer.err or "cannot be checked" in answer.err
    assert confined.tries("corpus", "list", "--json").out.strip() == "[]"


@pytest.mark.parametrize(
    "path", ["inside/mine.jsonl", "file://{here}/inside/mine.jsonl", "inside/./mine.jsonl"]
)
def test_what_lies_below_a_root_is_read(confined: User, tmp_path: Path, path: str) -> None:
    assert confined.tries("corpus", "add", "mine", path.format(here=tmp_path)).code == 0
