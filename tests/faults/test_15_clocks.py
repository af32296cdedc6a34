"""Fault 15: clocks an hour wrong: leases are timed by the database, waits by the time that passed."""

import shutil
import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa

from postq.db import Database
from postq.models.attempt import AttemptOutcome
from postq.models.tables import attempt
from tests.faults.accounting import account, check_invariants
from tests.faults.conftest import MakeGround
from tests.faults.stock import Stock

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long shift(void) { const char *s = getenv("CLOCK_SHIFT"); return s ? atol(s) : 0; }

int clock_gettime(clockid_t id, struct timespec *ts) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int rc = real(id, ts);
    if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) ts->tv_sec += shift();
    return rc;
}
int gettimeofday(struct timeval *tv, void *tz) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
    int rc = real(tv, tz);
    if (rc == 0 && tv) tv->tv_sec += shift();
    return rc;
}
time_t time(time_t *t) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (t) *t = ts.tv_sec;
    return ts.tv_sec;
}
"""


@pytest.fixture(scope="session")
def wrong_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that shifts the wall clock of the process it is preloaded into, and no other clock."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here to build a wrong clock with")
    folder = tmp_path_factory.mktemp("clock")
    source = folder / "clock.c"
    source.write_text(SHIM)
    library = folder / "clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library


def shifted(library: Path, seconds: int) -> dict[str, str]:
    return {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(seconds)}


@pytest.mark.postgres
def test_clocks_an_hour_wrong_either_way_take_no_lease_from_anybody(
    wrong_clock: Path, postgres_database: Database, stocked: MakeGround, stock: Stock
) -> None:
    ground = stocked(postgres_database)
    ahead = ground.start_worker(**shifted(wrong_clock, 3600))
    behind = ground.start_worker(**shifted(wrong_clock, -3600))
    right = ground.start_worker()
    jobs = [ground.classify() for _ in range(3)]
    assert ground.wait_for_end(*jobs) == ["succeeded"] * 3
    check_invariants(ground, *jobs, digest=stock.digest)
    assert [account(ground, job_id).recovered for job_id in jobs] == [0, 0, 0]
    lost = ground.all(sa.select(attempt.c.id).where(attempt.c.outcome == AttemptOutcome.LOST))
    assert lost == []
    # and the clocks really were wrong
    stamps = [worker.lines()[0]["timestamp"][:13] for worker in (ahead, behind, right)]
    assert len(set(stamps)) == 3
    assert [worker.drain() for worker in ground.workers] == [0, 0, 0]
