"""What a reference means, and which references have nothing to report."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from postq.contracts.specs import JobKind
from postq.db import Database
from postq.errors import BadInput, Conflict, NotFound
from postq.models.bundle import Alias, BundleRow
from postq.models.corpus import Corpus
from postq.models.event import Event
from postq.models.job import Job, JobState
from postq.reports.subject import Subject, find_subject

NOW = datetime(2026, 11, 1, tzinfo=UTC)
HOME = Path("home")


@pytest.fixture
def known(database: Database) -> Database:
    """Bundle 1 by training job 1, an evaluation 2 with a leak, a classification 3, a training 4 under way."""
    with database.transaction() as session:
        session.add(_corpus())
        session.flush()
        session.add(_bundle())
        session.flush()
        session.add(Alias(name="production", bundle_id=1, updated_at=NOW))
        session.add(_job(1, JobKind.TRAIN, bundle_id=1, result={"digest": "b"}))
        evaluated = {"split": "all", "documents": 5, "leaks": {"documents": 2}, "report": {"documents": 5}}
        session.add(_job(2, JobKind.EVALUATE, bundle_id=1, result=evaluated))
        session.add(_job(3, JobKind.CLASSIFY, bundle_id=1, result={}))
        session.add(_job(4, JobKind.TRAIN, state=JobState.RUNNING))
        session.flush()
        session.add(_event(1, "job.state", "ready to running"))
        for _ in range(2):
            session.add(_event(1, "SHY", "It predicts too little.", data={"severity": "warning"}))
        session.add(_event(2, "detector.leak", "CONTAMINATED: 2 of 5"))
    return database


def _corpus() -> Corpus:
    return Corpus(
        id=1,
        name="opinions",
        version=2,
        path="corpora/opinions",
        digest="d",
        source="test",
        documents=30,
        words=300,
        labelled_documents=28,
        set_aside=1,
        facts={},
        created_at=NOW,
    )


def _bundle() -> BundleRow:
    return BundleRow(
        id=1,
        name="reader",
        kind="tfidf",
        digest="b" * 64,
        path="bundles/b",
        fingerprint=b"f" * 16,
        threshold_digest="t",
        labels=["appeal"],
        metrics={},
        job_id=1,
        test_touches=3,
        created_at=NOW,
    )


def _job(number: int, kind: JobKind, **facts: Any) -> Job:
    given = {"state": JobState.SUCCEEDED, **facts}
    return Job(id=number, kind=kind, spec={}, corpus_id=1, created_at=NOW, **given)


def _event(job_id: int, kind: str, message: str, *, data: dict[str, Any] | None = None) -> Event:
    return Event(job_id=job_id, at=NOW, type=kind, message=message, data=data)


def find(database: Database, reference: str) -> Subject:
    with database.reading() as session:
        return find_subject(session, reference, home=HOME)


@pytest.mark.parametrize("reference", ["1", "job:1", "bundle:1", "reader", "@production"])
def test_each_way_to_name_a_bundle_finds_it(known: Database, reference: str) -> None:
    subject = find(known, reference)
    assert (subject.bundle_id, subject.aliases, subject.test_touches) == (1, ("production",), 3)
    assert subject.folder == HOME / "bundles" / "b"
    assert subject.corpus["labelled_documents"] == 28
    assert subject.evaluation is None


def test_notes_are_kept_once_and_the_engines_own_events_left_out(known: Database) -> None:
    notes = find(known, "reader").notes
    assert [(note.event, note.severity) for note in notes] == [("SHY", "warning")]


def test_an_evaluation_brings_its_report_and_its_leaks(known: Database) -> None:
    subject = find(known, "2")
    assert subject.evaluation is not None
    assert (subject.evaluation.split, subject.evaluation.corpus) == ("all", "opinions v2")
    assert subject.evaluation.leaks["documents"] == 2
    assert [note.event for note in subject.notes] == ["SHY", "detector.leak"]


@pytest.mark.parametrize(
    ("reference", "kind", "says"),
    [
        ("99", NotFound, "no job 99"),
        ("job:99", NotFound, "no job 99"),
        ("bundle:99", NotFound, "no bundle 99"),
        ("raeder", NotFound, "no bundle 'raeder'"),
        ("@nobody", NotFound, "no alias"),
        ("4", Conflict, r"Job 4 \(running\) has no result"),
        ("3", BadInput, "is a classification"),
    ],
)
def test_what_cannot_be_reported_is_told(
    known: Database, reference: str, kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        find(known, reference)
