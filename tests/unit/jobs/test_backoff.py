"""Waits between attempts: doubling, bounded, spread, and foreseeable."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from postq.jobs.retries import LONGEST_WAIT_SECONDS, backoff

NUMBERS = st.integers(min_value=1, max_value=2**40)


@given(failures=st.integers(1, 40), shard_id=NUMBERS, token=NUMBERS)
def test_a_wait_is_within_a_quarter_of_its_doubling_and_never_endless(
    failures: int, shard_id: int, token: int
) -> None:
    wait = backoff(failures=failures, shard_id=shard_id, token=token, first_seconds=2.0)
    middle = min(LONGEST_WAIT_SECONDS, 2.0 * 2.0 ** (failures - 1))
    assert timedelta(seconds=0.75 * middle) <= wait <= timedelta(seconds=1.25 * middle)


@given(shard_id=NUMBERS, token=NUMBERS)
def test_the_same_attempt_always_waits_equally_long(shard_id: int, token: int) -> None:
    waits = {backoff(failures=3, shard_id=shard_id, token=token, first_seconds=2.0) for _ in range(3)}
    assert len(waits) == 1


def test_shards_that_fail_together_do_not_come_back_together() -> None:
    waits = {backoff(failures=1, shard_id=shard, token=1, first_seconds=2.0) for shard in range(100)}
    assert len(waits) == 100


def test_no_first_wait_means_no_wait_at_all() -> None:
    assert backoff(failures=9, shard_id=1, token=1, first_seconds=0.0) == timedelta(0)
