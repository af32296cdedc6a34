"""Transactions that stay open: a slow worker must not hold up the others, nor be overlooked by them."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from postq.bulk import insert_many
from postq.contracts.failure import FailureClass
from postq.jobs.claims import claim
from postq.jobs.reconcile import expire_leases
from postq.jobs.retries import fail_attempt
from postq.jobs.verify import verify_job
from postq.models.job import JobState
from postq.models.tables import event, prediction_label
from postq.registry.bundles import count_test_touch, count_test_touches
from postq.worker.outages import is_outage
from tests.integration.engine.crossing import Crossed, alone, only_postgres
from tests.integration.engine.world import CPU, World

# SQLite lets one writer in at a time, so only PostgreSQL has several open at once.
pytestmark = only_postgres
AT_MOST = sa.text("SET LOCAL lock_timeout = '5s'")


@pytest.fixture
def busy(world: World) -> World:
    """Three shards of a running job."""
    world.add_corpus(12)
    world.add_bundle()
    world.classify(1)
    world.commit(world.must_claim())
    return world


def test_a_claim_passes_over_a_row_that_another_claim_holds(busy: World) -> None:
    options: dict[str, Any] = {"device": CPU, "sticky": "", "now": busy.now, "settings": busy.settings}
    with busy.session() as first, busy.session() as second:
        second.execute(AT_MOST)
        one = claim(first, worker_id="w1", **options)
        two = claim(second, worker_id="w2", **options)
    assert one is not None
    assert two is not None
    assert one.shard_id != two.shard_id


def test_maintenance_passes_over_a_shard_that_is_being_committed(busy: World) -> None:
    lease = busy.must_claim()
    busy.later(61)
    with busy.session() as slow:
        slow.execute(sa.text("SELECT id FROM shard WHERE id = :id FOR UPDATE"), {"id": lease.shard_id})
        with busy.session() as session:
            session.execute(AT_MOST)
            assert expire_leases(session, now=busy.now, settings=busy.settings).changed == 0
    assert busy.commit(lease)


def test_a_failure_and_a_commit_that_end_the_last_two_shards_at_once_end_the_job(
    busy: World, crossed: Crossed
) -> None:
    failing, committing = busy.must_claim("w1"), busy.must_claim("w2")

    def fail(session: Session) -> None:
        fail_attempt(
            session,
            failing,
            failure=FailureClass.BAD_INPUT,
            message="unusable",
            now=busy.now,
            settings=busy.settings,
        )

    assert crossed(fail, lambda: busy.commit(committing))
    assert busy.state(1) is JobState.FAILED
    busy.verify_all()


def test_a_look_sees_one_state_whatever_is_committed_meanwhile(busy: World) -> None:
    lease = busy.must_claim()
    with busy.database.reading() as session:
        before = session.scalar(sa.select(sa.func.count()).select_from(event))
        assert busy.commit(lease)
        assert session.scalar(sa.select(sa.func.count()).select_from(event)) == before
        # So rows read before fit a history read after.
        assert verify_job(session, lease.job_id).problems == ()


def test_what_the_database_will_never_take_is_not_waited_for(busy: World) -> None:
    name = hashlib.shake_256(b"").hexdigest(9000)  # more than an index holds, and not to be compressed
    with pytest.raises(OperationalError) as refused, busy.session() as session:
        insert_many(session, prediction_label, ("job_id", "row", "label", "score"), [(1, 0, name, 0.5)])
    assert not is_outage(refused.value)


def test_a_client_frozen_inside_a_transaction_loses_its_locks_in_bounded_time(busy: World) -> None:
    with busy.database.reading() as session:
        limit = session.execute(sa.text("SHOW idle_in_transaction_session_timeout")).scalar_one()
    assert limit == "1min"


def test_a_client_whose_machine_vanished_is_noticed_by_the_server_in_bounded_time(busy: World) -> None:
    with busy.database.reading() as session:
        address = session.execute(sa.text("SELECT inet_client_addr()")).scalar_one()
        settings = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
        shown = [session.execute(sa.text(f"SHOW {name}")).scalar_one() for name in settings]
    assert shown == (["10", "5", "3"] if address is not None else ["0", "0", "0"])


def test_looks_at_the_same_bundles_in_another_order_wait_for_one_another_in_turn(
    world: World, crossed: Crossed, wait_until: Callable[..., Any]
) -> None:
    numbers = [world.add_bundle(name, weights=name) for name in ("one", "other")]
    with ThreadPoolExecutor(1) as pool:
        with world.session() as session:
            count_test_touch(session, numbers[0])
            backwards = alone(world, lambda session: count_test_touches(session, reversed(numbers)))
            looking = pool.submit(backwards)
            wait_until(crossed.somebody_waits, 10)
            count_test_touch(session, numbers[1])
        looks = looking.result(timeout=10)
    assert looks == 2
