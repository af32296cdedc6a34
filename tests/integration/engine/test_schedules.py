"""Schedules: one job a slot, right on DST days, and a word on every slot that made none."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from postq.contracts.specs import Requirements
from postq.errors import BadInput, Conflict, NotFound
from postq.jobs import firing
from postq.jobs.firing import fire_due_schedules
from postq.jobs.leases import renew
from postq.jobs.schedules import (
    add_schedule,
    list_schedules,
    pause_schedule,
    remove_schedule,
    resume_schedule,
    run_now,
)
from postq.models.job import JobState
from postq.models.schedule import Fire, MissedPolicy, OverlapPolicy, Schedule
from postq.registry.bundles import drop_alias, set_alias
from tests.integration.engine.world import World


@pytest.fixture
def nightly(world: World) -> World:
    world.add_corpus(8)
    world.add_bundle()
    return world


def add(world: World, **changes: Any) -> None:
    options = {
        "name": "nightly",
        "cron": "0 2 * * *",
        "timezone": "UTC",
        "corpus": "opinions",
        "bundle": "postures",
        **changes,
    }
    with world.session() as session:
        add_schedule(session, now=world.now, **options)


def fire(world: World) -> int:
    with world.session() as session:
        return fire_due_schedules(session, now=world.now, settings=world.settings).changed


def fires(world: World) -> list[tuple[str, str, int | None]]:
    with world.database.reading() as session:
        rows = session.scalars(sa.select(Fire).order_by(sa.column("slot"))).all()
    return [(f"{row.slot:%m-%d %H:%M}", row.outcome, row.job_id) for row in rows]


def at(world: World, text: str) -> None:
    world.now = datetime.fromisoformat(f"2026-{text}").replace(tzinfo=UTC)


def test_a_slot_makes_one_job_that_scores_what_is_new(nightly: World) -> None:
    world = nightly
    add(world)
    assert fire(world) == 0
    at(world, "03-03 02:00:01")
    assert fire(world) == 1
    assert fire(world) == 0
    assert fires(world) == [("03-03 02:00", "fired", 1)]
    found = world.job(1)
    assert (found.spec["only_new"], found.schedule_id) == (True, 1)
    world.work_off()
    at(world, "03-04 02:00:01")
    fire(world)
    assert world.job(2).reason.startswith("nothing new")
    world.verify_all()


def test_its_jobs_need_and_heed_what_the_schedule_says(nightly: World) -> None:
    world = nightly
    needs = Requirements(device_kind="cuda", memory_bytes=5)
    add(world, requirements=needs, priority=700, max_tokens_per_batch=4_096, precision="bf16")
    at(world, "03-03 02:00:01")
    fire(world)
    found = world.job(1)
    assert (found.device_kind, found.memory_bytes, found.priority) == ("cuda", 5, 700)
    assert (found.spec["max_tokens_per_batch"], found.spec["precision"]) == (4_096, "bf16")
    assert {(one.device_kind, one.memory_bytes, one.priority) for one in world.shards(1)} == {
        ("cuda", 5, 700)
    }


def test_any_number_of_workers_fire_a_slot_once(nightly: World) -> None:
    world = nightly
    add(world)
    at(world, "03-03 02:00:01")
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: fire(world), range(16))) == 1
    assert len(fires(world)) == 1


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        (MissedPolicy.COALESCE, [("03-05 02:00", "fired")]),
        (
            MissedPolicy.ALL,
            [("03-03 02:00", "fired"), ("03-04 02:00", "fired"), ("03-05 02:00", "fired")],
        ),
        (MissedPolicy.SKIP, [("03-05 02:00", "skipped: missed")]),
    ],
)
def test_slots_nobody_was_there_for_follow_the_policy(
    nightly: World, missed: MissedPolicy, expected: list[tuple[str, str]]
) -> None:
    world = nightly
    add(world, missed=missed, overlap=OverlapPolicy.QUEUE)
    at(world, "03-05 09:00")
    fire(world)
    assert [(slot, outcome) for slot, outcome, _ in fires(world)] == expected
    at(world, "03-06 02:00:10")
    fire(world)
    assert fires(world)[-1][:2] == ("03-06 02:00", "fired")


def test_a_minutely_schedule_found_after_a_year_fires_its_newest_slot(nightly: World) -> None:
    world = nightly
    add(world, cron="* * * * *")
    world.later(365 * 24 * 3600)
    assert fire(world) == 1
    assert [slot for slot, _, _ in fires(world)] == [f"{world.now:%m-%d %H:%M}"]


def test_an_unfinished_run_is_skipped_over_queued_behind_or_cancelled(nightly: World) -> None:
    world = nightly
    for hour, overlap in ((2, OverlapPolicy.SKIP), (3, OverlapPolicy.QUEUE), (4, OverlapPolicy.CANCEL_OLD)):
        add(world, name=overlap.value, cron=f"{hour} {hour} * * *", overlap=overlap)
    at(world, "03-03 04:05")
    fire(world)
    at(world, "03-04 04:05")
    fire(world)
    outcomes = {(slot, outcome) for slot, outcome, _ in fires(world)}
    assert ("03-04 02:02", "skipped: overlap with job 1") in outcomes
    assert (world.state(2), world.state(4)) == (JobState.READY, JobState.BLOCKED)
    assert (world.state(3), world.state(5)) == (JobState.CANCELLED, JobState.READY)
    world.work_off()
    assert world.job(4).reason.startswith("nothing new")
    world.verify_all()


def test_a_run_that_ends_while_it_is_to_be_cancelled_costs_no_fire(
    nightly: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = nightly
    add(world, overlap=OverlapPolicy.CANCEL_OLD)
    at(world, "03-03 02:00:01")
    fire(world)
    world.work_off()
    # Given that it was still going when it was looked up
    monkeypatch.setattr(firing, "_unfinished_jobs", lambda session, of: [1])
    at(world, "03-04 02:00:01")
    assert fire(world) == 1
    assert fires(world)[-1][1] == "fired"


@pytest.mark.parametrize("overlap", [OverlapPolicy.CANCEL_OLD, OverlapPolicy.QUEUE])
def test_a_run_asked_for_in_between_is_not_all_that_is_looked_at(
    overlap: OverlapPolicy, nightly: World
) -> None:
    world = nightly
    add(world, overlap=overlap)
    at(world, "03-03 02:00:01")
    fire(world)
    lease = world.must_claim()
    with world.session() as session:
        run_now(session, "nightly", now=world.now, settings=world.settings)
    at(world, "03-04 02:00:01")
    with world.session() as session:
        assert renew(session, lease, now=world.now, lease_seconds=60).held
    assert fire(world) == 1
    # Then the new run waits for the one that is running, which is stopped if the schedule says so
    assert world.job(3).after_job_id == lease.job_id == 1
    stopped = overlap is OverlapPolicy.CANCEL_OLD
    assert (world.job(1).cancel_requested_at is not None) is stopped
    assert world.state(2) is (JobState.CANCELLED if stopped else JobState.READY)
    assert world.state(3) is JobState.BLOCKED


def test_a_schedule_in_a_zone_that_is_unknown_here_does_not_hold_up_the_others(nightly: World) -> None:
    world = nightly
    add(world, name="abroad")
    add(world, name="here")
    with world.session() as session:
        session.execute(
            sa.update(Schedule).where(Schedule.name == "abroad").values(timezone="Europe/Nowhere")
        )
    at(world, "03-03 02:00:01")
    assert fire(world) == 1
    assert len(fires(world)) == 1
    # And it is fired by a worker that knows the zone
    with world.session() as session:
        session.execute(sa.update(Schedule).values(timezone="UTC"))
    assert fire(world) == 1


def test_a_fire_that_cannot_be_submitted_says_why_and_the_schedule_goes_on(nightly: World) -> None:
    world = nightly
    with world.session() as session:
        set_alias(session, "@production", "postures", now=world.now)
    add(world, bundle="@production")
    with world.session() as session:
        drop_alias(session, "@production")
    at(world, "03-03 02:00:01")
    assert fire(world) == 0
    assert fires(world)[0][1].startswith("failed: There is no alias '@production'.")
    with world.session() as session:
        set_alias(session, "production", "postures", now=world.now)
    at(world, "03-04 02:00:01")
    assert fire(world) == 1


def test_a_time_that_the_clock_skips_fires_after_the_gap_and_one_that_comes_twice_fires_once(
    nightly: World,
) -> None:
    world = nightly
    add(world, cron="30 2 * * *", timezone="Europe/Berlin", overlap=OverlapPolicy.QUEUE)
    for day in ("03-28", "03-29", "03-30"):
        at(world, f"{day} 01:31")
        fire(world)
    assert [slot for slot, _, _ in fires(world)][-3:] == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]
    for moment in ("10-24 00:31", "10-25 00:31", "10-25 01:31", "10-26 01:31"):
        at(world, moment)
        fire(world)
    assert [slot for slot, _, _ in fires(world)][-3:] == ["10-24 00:30", "10-25 00:30", "10-26 01:30"]


def test_a_paused_schedule_misses_nothing(nightly: World) -> None:
    world = nightly
    add(world, missed=MissedPolicy.ALL)
    with world.session() as session:
        pause_schedule(session, "nightly")
    at(world, "03-05 09:00")
    assert fire(world) == 0
    with world.session() as session:
        resumed = resume_schedule(session, "nightly", now=world.now)
    assert resumed.next_slot == datetime(2026, 3, 6, 2, tzinfo=UTC)
    assert fire(world) == 0


def test_running_now_leaves_the_next_slot_as_it_is(nightly: World) -> None:
    world = nightly
    add(world)
    with world.session() as session:
        made = run_now(session, "nightly", now=world.now, settings=world.settings)
    assert made.outcome == "manual"
    with world.database.reading() as session:
        (view,) = list_schedules(session)
    assert view.schedule.next_slot == datetime(2026, 3, 3, 2, tzinfo=UTC)
    assert view.last_fire is not None
    assert view.last_fire.job_id == made.job_id


def test_a_removed_name_can_be_used_again(nightly: World) -> None:
    world = nightly
    add(world)
    with pytest.raises(Conflict):
        add(world)
    with world.session() as session:
        remove_schedule(session, "nightly", now=world.now)
    at(world, "03-03 02:00:01")
    assert fire(world) == 0
    add(world, cron="0 3 * * *")
    at(world, "03-03 03:00:01")
    assert fire(world) == 1


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"cron": "every night"}, BadInput, "not a cron expression"),
        ({"cron": "61 2 * * *"}, BadInput, "not a cron expression"),
        ({"name": " "}, BadInput, "no name"),
        ({"timezone": "Europe/Berlinn"}, BadInput, "Europe/Berlin"),
        ({"corpus": "opinion"}, NotFound, "opinions"),
        ({"bundle": "posture"}, NotFound, "postures"),
    ],
)
def test_a_schedule_that_cannot_work_is_refused(
    nightly: World, change: dict[str, str], error: type[BadInput | NotFound], told: str
) -> None:
    with pytest.raises(error) as caught:
        add(nightly, **change)
    assert told in caught.value.message + caught.value.hint


def test_an_unknown_schedule_is_named_back_with_the_nearest(nightly: World) -> None:
    add(nightly)
    with nightly.session() as session, pytest.raises(NotFound) as caught:
        pause_schedule(session, "nightli")
    assert "nightly" in caught.value.hint
