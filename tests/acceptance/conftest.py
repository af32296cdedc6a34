"""Users of the acceptance tests: one with an empty home, one at the end of a whole journey."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.acceptance.journey import Journey, live_through
from tests.acceptance.user import User
from tests.once import made_once


@pytest.fixture
def user(tmp_path: Path) -> User:
    """A user with an empty home."""
    return User(home=tmp_path / "home")


@pytest.fixture(scope="session")
def journey(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Journey:
    """A TF-IDF journey from corpus to nightly schedule on the embedded default, lived through once a run.

    Each process of the run goes on in a copy of its folder, since some tests change what is there.
    """
    lived = made_once(shared_folder / "journey", lambda folder: live_through(User(home=folder / "home")))
    copy = tmp_path_factory.mktemp("journey") / "copy"
    shutil.copytree(lived.user.home.parent, copy)
    return replace(lived, user=User(home=copy / "home"))


@pytest.fixture
def corpus_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small corpus in the source form and returns the file."""
    from tests.acceptance.corpora import write_corpus

    return lambda name="corpus.jsonl", **options: write_corpus(tmp_path / name, **options)
