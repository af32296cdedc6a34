"""Grounds whose one bundle is not on disk: every job ends fast, and failing, which is all nudges need."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from postq.db import Database
from postq.models import BundleRow, Corpus
from tests.faults.ground import Ground, opened_ground

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)

MakeGround = Callable[..., Ground]


@pytest.fixture
def ground_with(tmp_path: Path, isolated_settings: Path, sqlite_database: Database) -> Iterator[MakeGround]:
    """`ground_with(broker_url=…)`: a ground on SQLite with corpus 1 and bundle 1, neither on disk."""
    with sqlite_database.transaction() as session:
        session.add(
            Corpus(
                id=1,
                name="opinions",
                version=1,
                path="corpora/opinions",
                digest="d",
                source="test",
                documents=10,
                words=100,
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
    with ExitStack() as stack:

        def make(**options: str) -> Ground:
            url = f"sqlite:///{isolated_settings / 'postq.db'}"
            place = opened_ground(tmp_path, home=isolated_settings, database_url=url, **options)
            return stack.enter_context(place)

        yield make
