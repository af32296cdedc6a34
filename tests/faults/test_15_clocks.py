"""Fault 15: clocks an hour wrong: leases are timed by the database, waits by the time that passed."""

import shutil
import subprocess
from pathlib import Path

import pytest
import sqlalchemy as sa

from postq.crash_points import CrashPoint
from postq.models.attempt import AttemptOutcome
from postq.models.tables import attempt
from tests.faults.accounting import account, check_invariants
from tests.faults.ground import PATIENT, Ground
from tests.faults.stock import Stock

HOUR = 3600
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift(void) {
    const char *path = getenv("CLOCK_SHIFT_FILE");
    char text[32] = {0};
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    if (read(file, text, sizeof text - 1) < 0) text[0] = 0;
    close(file);
    return atol(text);
}

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


def shifted(library: Path, file: Path, seconds: int) -> dict[str, str]:
    """Variables of a worker whose clock is as wrong as the file says."""
    file.write_text(str(seconds))
    return {"LD_PRELOAD": str(library), "CLOCK_SHIFT_FILE": str(file)}


def lost(ground: Ground) -> list[object]:
    """Attempts whose lease ran out."""
    return ground.all(sa.select(attempt.c.id).where(attempt.c.outcome == AttemptOutcome.LOST))


@pytest.mark.fault(15)
@pytest.mark.usual("postgresql-embedded")
@pytest.mark.never(sqlite="its clock is the machine's, which all its processes share")
def test_clocks_an_hour_wrong_either_way_take_no_lease_from_anybody(
    wrong_clock: Path, ground: Ground, stock: Stock
) -> None:
    ahead = ground.start_worker(**shifted(wrong_clock, ground.scratch / "ahead", HOUR), **PATIENT)
    behind = ground.start_worker(**shifted(wrong_clock, ground.scratch / "behind", -HOUR), **PATIENT)
    right = ground.start_worker(**PATIENT)
    jobs = [ground.classify() for _ in range(3)]
    assert ground.wait_for_end(*jobs) == ["succeeded"] * 3
    check_invariants(ground, *jobs, digest=stock.digest)
    assert [account(ground, job_id).recovered for job_id in jobs] == [0, 0, 0]
    assert lost(ground) == []
    # and the clocks really were wrong
    stamps = [worker.lines()[0]["timestamp"][:13] for worker in (ahead, behind, right)]
    assert len(set(stamps)) == 3
    assert [worker.drain() for worker in ground.workers] == [0, 0, 0]


@pytest.mark.fault(15)
@pytest.mark.usual("sqlite-embedded")
@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])
def test_a_clock_set_an_hour_forward_or_back_under_a_worker_costs_an_attempt_at_most(
    step: int, wrong_clock: Path, ground: Ground, stock: Stock
) -> None:
    # Given a runner in the middle of a shard
    file = ground.scratch / "clock"
    stopping = ground.at(CrashPoint.RUNNER_MIDWAY, nth=2, signal="STOP")
    worker = ground.start_worker(**shifted(wrong_clock, file, 0), **stopping, **PATIENT)
    job_id = ground.classify()
    ground.wait_until_reached()
    # When somebody sets the machine's clock
    file.write_text(str(step))
    worker.wake_runner()
    # Then all is done; on SQLite, which has no other clock, a lease may have run out by it
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)
    assert len(lost(ground)) <= (ground.database.is_sqlite and step > 0)
    assert worker.drain() == 0
