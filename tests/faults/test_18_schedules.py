"""Faults 18 and 19: many workers fire one schedule, one is frozen, none was there for three slots."""

import signal
from datetime import timedelta

import pytest
import sqlalchemy as sa

from postq.db import database_now
from postq.jobs.schedules import add_schedule
from postq.models.schedule import MissedPolicy, OverlapPolicy
from postq.models.tables import fire, job, schedule
from tests.faults.accounting import check_invariants
from tests.faults.ground import Ground
from tests.faults.stock import Stock
from tests.waiting import wait_until


def schedule_due(ground: Ground, *, slots: int, missed: MissedPolicy) -> None:
    """An hourly schedule whose last `slots` slots are waiting to be fired."""
    with ground.database.transaction() as session:
        now = database_now(session)
        add_schedule(
            session,
            name="nightly",
            cron="0 * * * *",
            timezone="UTC",
            corpus="opinions",
            bundle="1",
            now=now,
            missed=missed,
            overlap=OverlapPolicy.QUEUE,
        )
        hour = now.replace(minute=0, second=0, microsecond=0)
        first = hour - timedelta(hours=slots - 1)
        session.execute(sa.update(schedule).values(next_slot=first, created_at=first))


def fires(ground: Ground) -> list[tuple[object, str]]:
    return [(row.slot, row.outcome) for row in ground.all(sa.select(fire).order_by(fire.c.slot))]


def job_ids(ground: Ground) -> list[int]:
    return [row[0] for row in ground.all(sa.select(job.c.id).order_by(job.c.id))]


@pytest.mark.fault(18)
@pytest.mark.usual("sqlite-redis", "postgresql-embedded")
def test_a_slot_is_fired_once_by_many_workers_one_of_them_frozen(ground: Ground, stock: Stock) -> None:
    workers = [ground.start_worker() for _ in range(3)]
    wait_until(lambda: all(worker.said("The worker is ready") for worker in workers), 60)
    ground.freeze(workers[0])
    schedule_due(ground, slots=1, missed=MissedPolicy.ALL)
    wait_until(lambda: fires(ground), 60, saying="the slot to be fired")
    workers[0].send(signal.SIGCONT)
    ground.wait_for_end(*job_ids(ground))
    assert [worker.drain() for worker in workers] == [0, 0, 0]
    jobs = job_ids(ground)
    slots = [slot for slot, _ in fires(ground)]
    assert len(slots) == len(set(slots))
    assert len(jobs) == len(slots)
    check_invariants(ground, jobs[0], digest=stock.digest)


@pytest.mark.fault(19)
@pytest.mark.usual("sqlite-embedded", "postgresql-rabbitmq")
def test_three_slots_without_a_worker_are_made_up_for_as_the_policy_says(ground: Ground) -> None:
    schedule_due(ground, slots=3, missed=MissedPolicy.ALL)
    ground.start_worker()
    wait_until(lambda: len(fires(ground)) >= 3, 60, saying="three slots to be fired")
    jobs = job_ids(ground)
    assert set(ground.wait_for_end(*jobs)) == {"succeeded"}
    slots = [slot for slot, _ in fires(ground)]
    assert len(slots) == len(set(slots))
    check_invariants(ground, *jobs)
