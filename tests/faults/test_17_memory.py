"""Fault 17: the kernel kills a runner for memory, which is told from a crash, and the document is found."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

from postq.models.tables import attempt
from tests.faults.accounting import check_invariants
from tests.faults.ground import Ground
from tests.faults.test_16_poison import DOCUMENTS, POISONED, add_poisoned

LIMIT_BYTES = 600 * 2**20
_VERSION_1 = Path("/sys/fs/cgroup/memory")
_VERSION_2 = Path("/sys/fs/cgroup")


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """A control group whose processes share little memory."""
    old = (_VERSION_1 / "memory.limit_in_bytes").exists()
    group = (_VERSION_1 if old else _VERSION_2) / f"postq-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(LIMIT_BYTES))
    except OSError as exc:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"this user may not limit the memory of a process: {exc}")
    try:
        yield group
    finally:
        with suppress(OSError):
            group.rmdir()


@pytest.mark.fault(17)
@pytest.mark.usual("sqlite-embedded")
def test_a_runner_killed_by_the_kernel_for_memory_is_classed_so(ground: Ground, little_memory: Path) -> None:
    corpus_id = add_poisoned(ground, {POISONED: "poisongreed"})
    inside = ["sh", "-c", f'echo $$ > {little_memory}/cgroup.procs; exec "$@"', "sh"]
    worker = ground.start_worker(*inside, POSTQ_CRASH_BUDGET="1")
    job_id = ground.classify(corpus_id=corpus_id)
    assert ground.wait_for_end(job_id, timeout=120) == ["succeeded_with_quarantine"]
    failures = {
        row[0] for row in ground.all(sa.select(attempt.c.failure).where(attempt.c.failure.is_not(None)))
    }
    assert failures == {"host_oom"}
    assert ground.job(job_id).documents_predicted == DOCUMENTS - 1
    check_invariants(ground, job_id)
    assert worker.drain() == 0
