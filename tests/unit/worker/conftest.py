"""A database with one corpus, one bundle row and a way to submit and claim a classification of it."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from postq.contracts.specs import ClassifySpec
from postq.db import Database, database_now
from postq.jobs.claims import claim
from postq.jobs.leases import Lease
from postq.jobs.submit import submit
from postq.models import BundleRow, Corpus
from postq.settings import Settings
from tests.unit.worker.scene import CPU, Scene

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def settings(isolated_settings: Path) -> Settings:
    return Settings(
        home=isolated_settings,
        lease_seconds=60,
        renew_seconds=15,
        stall_seconds=100,
        drain_seconds=30,
        poll_seconds=0.05,
        shard_documents=10,
    )


@pytest.fixture
def stocked(sqlite_database: Database) -> Database:
    """A database with corpus 1 (thirty documents) and bundle 1; no files belong to them."""
    with sqlite_database.transaction() as session:
        session.add(
            Corpus(
                id=1,
                name="opinions",
                version=1,
                path="corpora/opinions",
                digest="d",
                source="test",
                documents=30,
                words=300,
                facts={},
                created_at=LONG_AGO,
            )
        )
        session.add(
            BundleRow(
                id=1,
                name="model",
                kind="tfidf",
                digest="b" * 64,
                path="bundles/b",
                fingerprint=b"f" * 16,
                threshold_digest="t",
                labels=["appeal"],
                metrics={},
                created_at=LONG_AGO,
            )
        )
    return sqlite_database


@pytest.fixture
def submit_job(stocked: Database, settings: Settings) -> Callable[[], int]:
    """Submit a classification of the corpus: three shards of ten documents."""

    def submit_one() -> int:
        with stocked.transaction() as session:
            now = database_now(session)
            return submit(session, ClassifySpec(corpus_id=1, bundle="1"), now=now, settings=settings).job_id

    return submit_one


@pytest.fixture
def lease(stocked: Database, settings: Settings, submit_job: Callable[[], int]) -> Lease:
    """The lease of the first shard of a fresh job."""
    submit_job()
    with stocked.transaction() as session:
        claimed = claim(
            session,
            worker_id="me",
            device=CPU,
            sticky="",
            now=database_now(session),
            settings=settings,
        )
    assert claimed is not None
    return claimed


@pytest.fixture
def scene(stocked: Database, lease: Lease, settings: Settings) -> Scene:
    return Scene(stocked, lease, settings)
