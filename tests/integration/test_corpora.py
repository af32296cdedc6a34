"""Corpora in the database: adding, versions, references, pruning, on SQLite and PostgreSQL."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from postq.corpus.location import Input
from postq.corpus.snapshot import read_documents, verify_snapshot
from postq.db import Database, database_now
from postq.errors import BadInput, CorpusUnreadable, DatabaseUnavailable, NotFound
from postq.models.corpus import Corpus
from postq.models.tables import corpus as corpus_table
from postq.models.tables import document as document_table
from postq.registry.corpora import list_corpora, prune_snapshots, resolve_corpus
from postq.registry.intake import add_corpus, validate_source
from postq.settings import Settings
from tests import databases

WORDS = "the appellant seeks leave to appeal from the orders made below"


@pytest.fixture
def settings(isolated_settings: Path) -> Settings:
    return Settings(home=isolated_settings)


@pytest.fixture
def opinions(tmp_path: Path) -> Path:
    """Three documents, one of them too short."""
    file = tmp_path / "opinions.jsonl"
    write_opinions(file, texts=[WORDS, f"{WORDS} twice", "too short"])
    return file


def write_opinions(file: Path, *, texts: list[str]) -> None:
    lines = [{"id": f"d{n}", "text": text, "labels": ["appeal"]} for n, text in enumerate(texts)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def add(database: Database, settings: Settings, file: Path, *, name: str = "opinions") -> Corpus:
    return add_corpus(database, settings, name=name, inputs=[Input(path=str(file))])


def document_rows(database: Database) -> list[tuple[object, ...]]:
    with database.reading() as session:
        found = session.execute(sa.select(document_table).order_by("corpus_id", "row"))
        return [tuple(row) for row in found]


def test_an_added_corpus_has_a_snapshot_a_row_and_a_row_per_document(
    database: Database, settings: Settings, opinions: Path
) -> None:
    corpus = add(database, settings, opinions)
    folder = settings.home / corpus.path
    verify_snapshot(folder, digest=corpus.digest)
    documents = list(read_documents(folder))
    assert (corpus.version, corpus.documents, corpus.set_aside, corpus.words) == (1, 2, 1, 23)
    assert corpus.facts["label_counts"] == {"appeal": 2}
    assert document_rows(database) == [
        (corpus.id, each.row, each.document_id, each.content_hash, each.word_count) for each in documents
    ]


def test_adding_under_the_same_name_makes_the_next_version(
    database: Database, settings: Settings, opinions: Path
) -> None:
    first, second = add(database, settings, opinions), add(database, settings, opinions)
    with database.reading() as session:
        assert resolve_corpus(session, "opinions").id == second.id
        assert resolve_corpus(session, "opinions@1").id == first.id
        assert resolve_corpus(session, str(first.id)).id == first.id
        assert [row.version for row in list_corpora(session, name="opinions")] == [2, 1]


def test_adds_of_one_name_at_the_same_time_get_different_versions(
    database: Database, settings: Settings, opinions: Path
) -> None:
    with ThreadPoolExecutor(4) as pool:
        added = list(pool.map(lambda _: add(database, settings, opinions), range(4)))
    assert sorted(corpus.version for corpus in added) == [1, 2, 3, 4]
    assert len(document_rows(database)) == 4 * 2


@pytest.mark.parametrize(
    ("reference", "hint"),
    [
        ("opinons", "Did you mean opinions?"),
        ("opinions@7", "newest version of opinions is opinions@1"),
        ("9999", "postq corpus list"),
    ],
)
def test_an_unknown_corpus_is_answered_with_what_is_near(
    sqlite_database: Database, settings: Settings, opinions: Path, reference: str, hint: str
) -> None:
    add(sqlite_database, settings, opinions)
    with sqlite_database.reading() as session, pytest.raises(NotFound) as caught:
        resolve_corpus(session, reference)
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["", "12", "a b", "a@2", "../a", "-a", "x" * 101])
def test_a_name_that_could_be_misread_is_refused(
    sqlite_database: Database, settings: Settings, opinions: Path, name: str
) -> None:
    with pytest.raises(BadInput):
        add(sqlite_database, settings, opinions, name=name)


def test_a_corpus_that_cannot_be_read_leaves_no_row_and_no_folder(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text("not json\n" * 3, encoding="utf-8")
    with pytest.raises(CorpusUnreadable):
        add(database, settings, broken)
    assert document_rows(database) == []
    assert list((settings.home / "corpora").iterdir()) == []


def test_a_failed_registration_removes_the_snapshot(
    sqlite_database: Database, settings: Settings, opinions: Path
) -> None:
    with sqlite_database.transaction() as session:
        session.execute(sa.text("DROP TABLE document"))
    with pytest.raises(DatabaseUnavailable):
        add(sqlite_database, settings, opinions)
    assert list((settings.home / "corpora").iterdir()) == []
    with sqlite_database.reading() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(corpus_table)) == 0


def test_a_crash_between_snapshot_and_commit_leaves_a_stray_folder_that_is_pruned_a_day_later(
    sqlite_database: Database, settings: Settings, opinions: Path, repository: Path
) -> None:
    # Given a corpus that was added well
    kept = add(sqlite_database, settings, opinions)
    # When another add is killed after its snapshot is in place
    code = (
        "from postq.settings import load_settings; from postq.db import open_database; import sys\n"
        "from postq.registry.intake import add_corpus; from postq.corpus.location import Input\n"
        "settings = load_settings()\n"
        "add_corpus(open_database(settings), settings, name='opinions', inputs=[Input(path=sys.argv[1])])\n"
    )
    environment = os.environ | {"POSTQ_CRASH_AT": "after-snapshot"}
    command = [sys.executable, "-c", code, str(opinions)]
    done = subprocess.run(command, env=environment, cwd=repository, check=False)
    assert done.returncode == -signal.SIGKILL
    # Then its folder is there without a row, left alone at first and removed a day later
    assert len(list((settings.home / "corpora").iterdir())) == 2
    with sqlite_database.transaction() as session:
        now = database_now(session)
        assert prune_snapshots(session, home=settings.home, now=now) == 0
        assert prune_snapshots(session, home=settings.home, now=now + timedelta(hours=25)) == 1
    assert [f"corpora/{place.name}" for place in (settings.home / "corpora").iterdir()] == [kept.path]


def test_snapshots_of_another_database_with_the_same_home_stay(
    sqlite_database: Database, migrated_sqlite: Path, settings: Settings, opinions: Path, tmp_path: Path
) -> None:
    def clear_up(database: Database) -> int:
        with database.reading() as session:
            later = database_now(session) + timedelta(hours=25)
            return prune_snapshots(session, home=settings.home, now=later)

    # Given two databases with one home, that each got a corpus before and after the other one
    with databases.copied_sqlite(migrated_sqlite, home=tmp_path / "other") as other:
        kept = [add(one, settings, opinions) for one in (other, sqlite_database, other)]
        # When each clears up
        assert [clear_up(one) for one in (other, sqlite_database)] == [0, 0]
    # Then all snapshots are there
    assert {f"corpora/{place.name}" for place in (settings.home / "corpora").iterdir()} == {
        one.path for one in kept
    }


def test_validation_counts_as_adding_would_and_writes_nothing(settings: Settings, opinions: Path) -> None:
    seen: list[str] = []
    facts = validate_source(
        settings, inputs=[Input(path=str(opinions))], on_set_aside=lambda item: seen.append(item.reason)
    )
    assert (facts.records_read, facts.documents, facts.set_aside) == (3, 2, 1)
    assert seen == ["too_short"]
    assert not settings.home.exists()


def test_the_corpus_roots_of_the_settings_are_kept(
    sqlite_database: Database, isolated_settings: Path, opinions: Path, tmp_path: Path
) -> None:
    fenced = Settings(home=isolated_settings, corpus_roots=(str(tmp_path / "elsewhere"),))
    with pytest.raises(BadInput, match="outside"):
        add(sqlite_database, fenced, opinions)
