"""A worker whose terminal closes ends in good order; one under `nohup` works on."""

import signal
import sys
from pathlib import Path

import pytest

from tests.integration.worker.conftest import MakeGround
from tests.waiting import wait_until


def test_a_worker_whose_terminal_closes_ends_in_good_order(ground_with: MakeGround) -> None:
    worker = ground_with().start_worker()
    wait_until(lambda: worker.said("The worker is ready"), 60)
    worker.send(signal.SIGHUP)
    worker.send(signal.SIGHUP)
    assert worker.process.wait(timeout=60) == 0
    assert worker.said("The worker ends.")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_hang_up_that_the_parent_had_ignored_stays_ignored(ground_with: MakeGround) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        worker = ground_with().start_worker()
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_until(lambda: worker.said("The worker is ready"), 60)
    assert ignored_signals(worker.process.pid) & 1 << signal.SIGHUP - 1


def ignored_signals(pid: int) -> int:
    """The mask of signals that a process ignores."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn"))
