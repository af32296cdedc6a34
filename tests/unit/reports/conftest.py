"""One TF-IDF bundle and one encoder bundle on the same split, made once; subjects and reports of them."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from postq.learning.bundle import open_bundle
from postq.reports.building import build_report
from postq.reports.content import Report
from postq.reports.stored import read_bundle
from postq.reports.subject import Subject
from tests.unit.learning.opinions import training_data
from tests.unit.reports.material import HOSTILE, make_encoder, make_tfidf, renamed


@pytest.fixture(scope="session")
def tfidf_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TF-IDF bundle."""
    folder = tmp_path_factory.mktemp("reports") / "tfidf"
    make_tfidf(folder)
    return folder


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder bundle, clearly worse than its baseline, on the same split."""
    folder = tmp_path_factory.mktemp("reports") / "encoder"
    with pytest.MonkeyPatch.context() as patch:
        make_encoder(folder, patch)
    return folder


@pytest.fixture(scope="session")
def hostile_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder bundle whose labels are named to break pages, plots and terminals."""
    folder = tmp_path_factory.mktemp("reports") / "hostile"
    with pytest.MonkeyPatch.context() as patch:
        make_encoder(folder, patch, data=renamed(training_data(), HOSTILE))
    return folder


@pytest.fixture(scope="session")
def subject_of() -> Callable[..., Subject]:
    """What the database would say of a bundle's folder."""

    def make(folder: Path, **changes: Any) -> Subject:
        bundle = open_bundle(folder)
        facts: dict[str, Any] = {
            "bundle_id": 3,
            "name": bundle.name,
            "kind": bundle.kind,
            "digest": bundle.digest,
            "folder": folder,
            "fingerprint": "ab" * 16,
            "aliases": ("production",),
            "job_id": 7,
            "test_touches": 2,
            "created_at": datetime(2026, 11, 1, tzinfo=UTC),
            "notes": (),
            "corpus": {"documents": 400, "labelled_documents": 390, "set_aside": 5},
        }
        return Subject(**{**facts, **changes})

    return make


@pytest.fixture(scope="session")
def report_of(subject_of: Callable[..., Subject]) -> Callable[..., Report]:
    """The report of a bundle's folder."""

    def make(folder: Path, *, labels: tuple[str, ...] = (), **changes: Any) -> Report:
        return build_report(subject_of(folder, **changes), read_bundle(folder), labels=labels)

    return make
