"""Faults 16 and 17: documents that raise, crash, hang or eat memory are set apart and the rest finish."""

import signal
from pathlib import Path

import pytest
import sqlalchemy as sa

from postq.corpus.location import Input
from postq.crash_points import CrashPoint
from postq.db import database_now
from postq.jobs.retry import retry_job
from postq.models.tables import quarantine
from postq.registry.intake import add_corpus
from tests.faults.accounting import check_invariants
from tests.faults.ground import Ground
from tests.faults.stock import Stock, write_opinions

DOCUMENTS, POISONED = 4, 1


POISONS = (
    pytest.param("poisonraise", "this document is poison", {}, marks=pytest.mark.usual("sqlite-embedded")),
    pytest.param("poisoncrash", "SIGSEGV", {}, marks=pytest.mark.usual("postgresql-redis")),
    pytest.param(
        "poisonhang",
        "No progress",
        {"POSTQ_STALL_SECONDS": "3", "POSTQ_CRASH_BUDGET": "1"},
        marks=pytest.mark.usual("sqlite-rabbitmq"),
    ),
)


@pytest.mark.fault(16)
@pytest.mark.parametrize(("word", "error", "variables"), POISONS, ids=["raises", "crashes", "hangs"])
def test_a_poisonous_document_is_quarantined_and_the_rest_finish(
    word: str, error: str, variables: dict[str, str], ground: Ground
) -> None:
    corpus_id = add_poisoned(ground, {POISONED: word})
    ground.start_worker(**variables)
    job_id = ground.classify(corpus_id=corpus_id)
    assert ground.wait_for_end(job_id, timeout=150) == ["succeeded_with_quarantine"]
    ((row, message),) = ground.all(
        sa.select(quarantine.c.row, quarantine.c.error).where(quarantine.c.job_id == job_id)
    )
    assert row == POISONED
    assert error in message
    assert ground.job(job_id).documents_predicted == DOCUMENTS - 1
    check_invariants(ground, job_id)


def add_poisoned(ground: Ground, poison: dict[int, str]) -> int:
    """Add a small corpus, some of its documents poisonous."""
    file: Path = write_opinions(ground.scratch / "poison.jsonl", poison=poison, documents=DOCUMENTS)
    added = add_corpus(ground.database, ground.settings, name="poison", inputs=[Input(path=str(file))])
    assert added.id is not None
    return added.id


@pytest.mark.fault(16)
@pytest.mark.usual("postgresql-embedded")
def test_a_runner_killed_for_memory_is_told_from_a_crash(ground: Ground, stock: Stock) -> None:
    # A MemoryError that Python could still raise; the kernel's own kill is staged in test_17_memory.
    corpus_id = add_poisoned(ground, {POISONED: "poisonmemory"})
    ground.start_worker()
    job_id = ground.classify(corpus_id=corpus_id)
    assert ground.wait_for_end(job_id) == ["succeeded_with_quarantine"]
    assert ground.job(job_id).documents_quarantined == 1
    check_invariants(ground, job_id)


@pytest.mark.fault(16)
@pytest.mark.usual("sqlite-redis")
def test_a_crash_that_was_nobodys_fault_sets_no_document_apart(ground: Ground, stock: Stock) -> None:
    worker = ground.start_worker(**ground.at(CrashPoint.RUNNER_STARTED, nth=2))
    job_id = ground.classify()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)
    worker.send(signal.SIGTERM)
    assert worker.process.wait(timeout=60) == 0


@pytest.mark.fault(16)
@pytest.mark.usual("postgresql-embedded")
def test_a_runner_that_never_gets_to_work_sets_no_document_apart(ground: Ground, stock: Stock) -> None:
    # Given runners that all die before they have read a document, as if the model did not fit into memory
    every_time = {"POSTQ_CRASH_AT": f"{CrashPoint.RUNNER_STARTED}:1"}
    broken = ground.start_worker(**every_time, POSTQ_RETRY_BUDGET="1", POSTQ_BACKOFF_SECONDS="0")
    job_id = ground.classify()
    # Then the job fails and says so
    assert ground.wait_for_end(job_id) == ["failed"]
    found = ground.job(job_id)
    assert found.documents_quarantined == 0
    assert "No document had been read yet." in found.error
    # And tried again on a sound worker all of it is done
    assert broken.drain() == 0
    with ground.database.transaction() as session:
        retry_job(session, job_id, now=database_now(session), settings=ground.settings)
    ground.start_worker()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)
