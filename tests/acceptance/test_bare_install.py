"""Without any extra the command line works: it submits and looks, and says what a worker would need."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance import bare_install

PROGRAM = Path(bare_install.__file__)


def bare(*words: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(PROGRAM.parents[2])}
    return subprocess.run(
        [sys.executable, PROGRAM, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def corpus_file(tmp_path: Path) -> Path:
    file = tmp_path / "small.jsonl"
    document: dict[str, Any] = {
        "postures": ["Appeal"],
        "sections": [
            {"headtext": "", "paragraphs": ["The court of appeals affirmed the judgment in every part."]}
        ],
    }
    lines = [json.dumps({"documentId": f"d{number}", **document}) for number in range(3)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_the_bare_install_knows_its_own_bounds() -> None:
    present = bare_install.bare_distributions()
    assert {"postq", "typer", "celery", "pyarrow", "annotated-types"} <= present
    assert present & {"torch", "scikit-learn", "transformers", "psycopg", "redis", "pytest"} == set()


def test_what_an_extra_brings_is_hidden_and_what_postq_needs_is_not() -> None:
    hidden = bare_install.Absent(bare_install.bare_distributions()).names
    assert {"torch", "sklearn", "transformers", "psycopg", "redis"} <= hidden
    assert hidden & {"postq", "typer", "pydantic", "yaml", "sqlalchemy"} == set()


def test_a_corpus_is_added_a_training_submitted_and_its_state_shown(corpus_file: Path) -> None:
    for words in (
        ("corpus", "add", "small", str(corpus_file)),
        ("corpus", "list"),
        ("submit-train", "small", "--preset", "tfidf"),
        ("status", "--json"),
        ("events", "1"),
        ("cancel", "1"),
    ):
        done = bare(*words)
        assert done.returncode == 0, f"postq {' '.join(words)}: {done.stdout}{done.stderr}"


def test_a_missing_driver_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTQ_DATABASE_URL", "postgresql+psycopg://u@127.0.0.1/db")
    done = bare("status")
    assert done.returncode == 6
    assert "postq[postgres]" in done.stderr
    assert "Traceback" not in done.stderr
