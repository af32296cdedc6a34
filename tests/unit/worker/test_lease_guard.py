"""The guard ends a runner whose lease ran out, and only then."""

import threading
import time

from postq.worker.lease_guard import LeaseGuard
from tests.waiting import wait_until


def test_a_lease_that_is_not_renewed_expires_once() -> None:
    calls: list[str] = []
    with LeaseGuard(lambda: calls.append("expired"), lease_seconds=0.05) as guard:
        wait_until(lambda: calls, 10)
    assert calls == ["expired"]
    assert guard.expired


def test_renewals_keep_it_from_expiring() -> None:
    expired = threading.Event()
    with LeaseGuard(expired.set, lease_seconds=1000) as guard:
        guard.renewed(sent_at=time.monotonic())
    assert not guard.expired
    assert not expired.is_set()


def test_a_renewal_counts_from_when_it_was_sent() -> None:
    expired = threading.Event()
    with LeaseGuard(expired.set, lease_seconds=1000) as guard:
        guard.renewed(sent_at=time.monotonic() - 1001)
        assert expired.wait(10)


def test_leaving_ends_the_thread() -> None:
    with LeaseGuard(lambda: None, lease_seconds=1000):
        pass
    assert not any(thread.name == "lease-guard" for thread in threading.enumerate())
