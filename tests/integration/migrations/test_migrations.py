"""The schema's history: up and down on both databases, equal to the tables, refused where it does not fit."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.orm import Session
from sqlmodel import SQLModel

from postq.db import Database
from postq.errors import DatabaseUnavailable, SchemaMismatch
from postq.migrations import (
    check_schema,
    current_revision,
    downgrade,
    ensure_schema,
    head_revision,
    revisions,
    upgrade,
)
from postq.models.bundle import Alias
from postq.models.schedule import Schedule
from postq.registry.bundles import register_bundle
from tests.databases import opened

NOW = datetime(2026, 3, 2, tzinfo=UTC)
OLD_SCHEDULE = {
    "name": "nightly",
    "cron": "0 2 * * *",
    "timezone": "UTC",
    "corpus": "opinions",
    "bundle": "@production",
    "device_kind": "cuda",
    "missed": "coalesce",
    "overlap": "skip",
    "paused": False,
    "created_at": "2026-03-02 00:00:00",
}


@pytest.fixture
def bare_database(database_url: str, tmp_path: Path) -> Iterator[Database]:
    """A database without any table."""
    database = opened(database_url, home=tmp_path)
    yield database
    database.dispose()


def tables_of(database: Database) -> set[str]:
    with database.reading() as session:
        return set(sa.inspect(session.connection()).get_table_names()) - {"alembic_version"}


def pretend_revision(database: Database, revision: str) -> None:
    with database.transaction() as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = :to"), {"to": revision})


def test_up_down_and_up_again(bare_database: Database) -> None:
    assert current_revision(bare_database) is None
    for _ in range(2):
        upgrade(bare_database)
        assert current_revision(bare_database) == head_revision()
        assert tables_of(bare_database) == set(SQLModel.metadata.tables)
        downgrade(bare_database, "base")
        assert current_revision(bare_database) is None
        assert tables_of(bare_database) == set()


def test_the_migrated_schema_is_the_one_the_tables_describe(bare_database: Database) -> None:
    upgrade(bare_database)
    with bare_database.reading() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        differences = compare_metadata(context, SQLModel.metadata)
    assert differences == []


def test_upgrading_what_is_up_to_date_keeps_its_rows(bare_database: Database) -> None:
    upgrade(bare_database)
    with bare_database.transaction() as session:
        session.add(Alias(name="kept", bundle_id=add_bundle(session), updated_at=NOW))
    upgrade(bare_database)
    with bare_database.reading() as session:
        assert session.get(Alias, "kept") is not None


def test_a_schedule_from_before_it_said_what_its_jobs_need_goes_on(bare_database: Database) -> None:
    upgrade(bare_database)
    downgrade(bare_database, "0001")
    with bare_database.transaction() as session:
        old = sa.table("schedule", *(sa.column(name) for name in OLD_SCHEDULE))
        session.execute(sa.insert(old).values(OLD_SCHEDULE))
    upgrade(bare_database)
    with bare_database.reading() as session:
        found = session.scalars(sa.select(Schedule)).one()
        assert (found.name, found.device_kind) == ("nightly", "cuda")
        assert (found.memory_bytes, found.priority) == (0, 100)
        assert (found.max_tokens_per_batch, found.precision) == (None, None)
    downgrade(bare_database, "0001")
    with bare_database.reading() as session:
        assert session.scalar(sa.text("SELECT count(*) FROM schedule WHERE name = 'nightly'")) == 1


def test_a_file_from_before_numbers_were_given_once_keeps_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for table in SQLModel.metadata.tables.values():
        monkeypatch.setitem(table.dialect_options["sqlite"], "autoincrement", False)
    database = opened(f"sqlite:///{tmp_path / 'old.db'}", home=tmp_path)
    with database.transaction() as session:
        SQLModel.metadata.create_all(session.connection())
        session.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        session.execute(sa.text("INSERT INTO alembic_version VALUES ('0001')"))
        for later in ("memory_bytes", "priority", "max_tokens_per_batch", "precision"):
            session.execute(sa.text(f"ALTER TABLE schedule DROP COLUMN {later}"))
    monkeypatch.undo()
    ensure_schema(database)
    assert current_revision(database) == head_revision()
    with database.transaction() as session:
        assert not session.scalar(sa.text("SELECT count(*) FROM sqlite_master WHERE sql LIKE '%AUTOINC%'"))
        session.add(Alias(name="kept", bundle_id=add_bundle(session), updated_at=NOW))
    database.dispose()


def add_bundle(session: Session) -> int:
    row = register_bundle(
        session,
        name="b",
        kind="tfidf",
        digest="d",
        path="bundles/d",
        fingerprint=b"f" * 16,
        threshold_digest="t",
        labels=["one"],
        metrics={},
        size_bytes=1,
        job_id=None,
        now=NOW,
    )
    assert row.id is not None
    return row.id


def test_file_names_tell_the_same_history_as_alembic_reads(repository: Path) -> None:
    scripts = ScriptDirectory(str(repository / "postq" / "migrations"))
    assert scripts.get_heads() == [head_revision()]
    assert tuple(reversed([one.revision for one in scripts.walk_revisions()])) == revisions()


def test_a_missing_schema_is_laid_when_embedded_and_refused_on_a_server(bare_database: Database) -> None:
    with pytest.raises(SchemaMismatch, match="no postq tables") as caught:
        check_schema(bare_database)
    assert "postq db upgrade" in caught.value.hint
    if bare_database.is_sqlite:
        ensure_schema(bare_database)
        check_schema(bare_database)
    else:
        with pytest.raises(SchemaMismatch):
            ensure_schema(bare_database)


def test_a_newer_schema_is_refused_and_left_alone(bare_database: Database) -> None:
    upgrade(bare_database)
    pretend_revision(bare_database, "9999")
    for refuse in (check_schema, ensure_schema, upgrade):
        with pytest.raises(SchemaMismatch, match="newer than this postq") as caught:
            refuse(bare_database)
        assert "Upgrade postq" in caught.value.hint
    assert current_revision(bare_database) == "9999"


@pytest.mark.parametrize("revision", ["0000", "ae1027a6acf", "9999x"])
def test_a_schema_that_no_postq_has_is_not_called_newer(bare_database: Database, revision: str) -> None:
    upgrade(bare_database)
    pretend_revision(bare_database, revision)
    for refuse in (check_schema, ensure_schema, upgrade):
        with pytest.raises(SchemaMismatch, match=f"{revision}, which no version of postq") as caught:
            refuse(bare_database)
        assert "a database of its own" in caught.value.hint


def test_another_applications_schema_of_several_heads_is_told(bare_database: Database) -> None:
    upgrade(bare_database)
    pretend_revision(bare_database, "beef")
    with bare_database.transaction() as session:
        session.execute(sa.text("INSERT INTO alembic_version VALUES ('abba')"))
    with pytest.raises(SchemaMismatch, match="abba, beef, which no version of postq"):
        check_schema(bare_database)


def test_an_older_schema_is_told_apart_from_a_newer_one(
    bare_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(bare_database)
    monkeypatch.setattr("postq.migrations.revisions", lambda: (*revisions.__wrapped__(), "9998"))
    with pytest.raises(SchemaMismatch, match="older than this postq") as caught:
        check_schema(bare_database)
    assert "postq db upgrade" in caught.value.hint


def test_processes_that_start_together_lay_one_schema(database_url: str, tmp_path: Path) -> None:
    def start(_: int) -> Any:
        database = opened(database_url, home=tmp_path)
        try:
            upgrade(database)
            return current_revision(database)
        finally:
            database.dispose()

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(start, range(6))) == {head_revision()}


def test_a_file_that_is_no_database_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "postq.db").write_bytes(b"this is a letter, not a database" * 200)
    database = opened(f"sqlite:///{tmp_path / 'postq.db'}", home=tmp_path)
    with pytest.raises(DatabaseUnavailable):
        ensure_schema(database)
    database.dispose()
