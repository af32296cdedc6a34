"""Users of the acceptance tests: one with an empty home, one at the end of a whole journey."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.journey import Journey, live_through
from tests.acceptance.user import User


@pytest.fixture
def user(tmp_path: Path) -> User:
    """A user with an empty home."""
    return User(home=tmp_path / "home")


@pytest.fixture(scope="session")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    """A TF-IDF journey from corpus to nightly schedule on the embedded default, lived through once."""
    home = tmp_path_factory.mktemp("journey") / "home"
    return live_through(User(home=home))


@pytest.fixture
def corpus_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small corpus in the source form and returns the file."""
    from tests.acceptance.corpora import write_corpus

    return lambda name="corpus.jsonl", **options: write_corpus(tmp_path / name, **options)
