"""Asking: progress, rates and the reason a job is where it is."""

import pytest
import sqlalchemy as sa

from postq.contracts.failure import FailureClass
from postq.contracts.specs import Requirements
from postq.errors import NotFound
from postq.jobs.cancel import cancel
from postq.jobs.leases import ProgressReport, renew
from postq.jobs.queries import count_jobs, events_of, job_view, list_jobs, queue_depth
from postq.jobs.views import JobView
from postq.jobs.workers import heartbeat, register_worker
from postq.models.job import JobState
from tests.integration.engine.world import CPU, GPU, World


@pytest.fixture
def scored_world(world: World) -> World:
    world.add_corpus(12)
    world.add_bundle()
    return world


def view(world: World, job_id: int = 1) -> JobView:
    with world.database.reading() as session:
        return job_view(session, job_id, now=world.now, settings=world.settings)


def start_worker(world: World, worker_id: str = "w1", *, gpu: bool = False) -> None:
    with world.session() as session:
        register_worker(
            session,
            worker_id=worker_id,
            hostname="here",
            pid=1,
            device=GPU if gpu else CPU,
            version="0.1.0",
            now=world.now,
        )


def test_a_ready_job_says_what_it_waits_for(scored_world: World) -> None:
    world = scored_world
    job_id = world.classify(1, requirements=Requirements(device_kind="cuda", memory_bytes=20_000_000_000))
    assert view(world, job_id).reason == "waits for a cuda worker with 20 GB: no worker is running"
    start_worker(world, "w1")
    start_worker(world, "w2")
    assert view(world, job_id).reason == ("waits for a cuda worker with 20 GB: 2 live workers do not fit")
    start_worker(world, "w3", gpu=True)
    assert view(world, job_id).reason == "waits for a cuda worker with 20 GB: about to be claimed"
    for state, said in (("busy", "1 worker that fits is busy"), ("draining", "1 worker that fits is ending")):
        with world.session() as session:
            heartbeat(session, "w3", state=state, shard_id=9, now=world.now)
        assert view(world, job_id).reason.endswith(said)


def test_a_worker_that_fell_silent_is_called_neither_idle_nor_busy(scored_world: World) -> None:
    world = scored_world
    job_id = world.classify(1)
    start_worker(world, "w1")
    with world.session() as session:
        heartbeat(session, "w1", state="busy", shard_id=9, now=world.now)
    silent_from = 3 * world.settings.reconcile_seconds
    world.later(silent_from)
    assert view(world, job_id).reason == "waits for a worker: 1 worker that fits is busy"
    world.later(1)
    assert view(world, job_id).reason == (
        f"waits for a worker: 1 worker that fits is silent, no heartbeat for {silent_from + 1:.0f} s"
    )
    start_worker(world, "w2")
    assert view(world, job_id).reason == "waits for a worker: about to be claimed"


def test_a_job_that_idle_workers_leave_alone_says_for_how_long(scored_world: World) -> None:
    world = scored_world
    job_id = world.classify(1)
    world.later(240)
    start_worker(world)
    assert view(world, job_id).reason == (
        "waits for a worker: for 240 s although 1 worker that fits is idle; see the workers' logs"
    )


def test_a_job_between_tries_says_when_and_after_what(scored_world: World) -> None:
    world = scored_world
    world.train(1)
    world.fail(world.must_claim(), FailureClass.DISK_FULL, "no space left")
    reason = view(world).reason
    assert reason.startswith("tries again in ")
    assert reason.endswith("after: disk_full: no space left")
    assert view(world).retries == 1


def test_a_training_between_tries_waits_and_is_no_longer_at_its_last_phase(scored_world: World) -> None:
    world = scored_world
    world.train(1)
    lease = world.must_claim()
    with world.session() as session:
        report = ProgressReport(phase="baseline", done=200, total=200, metrics={"loss": 0.21})
        renew(session, lease, now=world.now, lease_seconds=60, progress=report)
    assert not view(world).waiting
    world.fail(lease, FailureClass.DISK_FULL, "no space left")
    found = view(world)
    assert (found.state, found.waiting) == (JobState.RUNNING, True)
    assert (found.progress.done, found.progress.total, found.progress.metrics) == (0, 0, {})
    assert found.reason.startswith("tries again in ")
    world.later(3600)
    assert view(world).reason == "waits for a worker: no worker is running"


def test_a_classification_between_tries_keeps_its_count_but_has_no_rate(scored_world: World) -> None:
    world = scored_world
    start_worker(world)
    world.classify(1)
    world.commit(world.must_claim())
    world.later(10)
    found = view(world)
    assert (found.state, found.waiting) == (JobState.RUNNING, True)
    assert (found.progress.done, found.progress.total) == (4, 12)
    assert (found.progress.per_second, found.progress.eta_seconds) == (None, None)
    assert found.reason == "waits for a worker: about to be claimed"


def test_a_job_whose_worker_is_gone_waits_even_while_its_lease_is_in_the_row(scored_world: World) -> None:
    world = scored_world
    start_worker(world)
    world.train(1)
    world.must_claim()
    assert view(world).workers == ("here cpu",)
    world.later(61)
    found = view(world)
    assert (found.waiting, found.workers, found.progress.total) == (True, (), 0)
    assert found.reason == "its worker is gone: about to be taken back"
    world.later(600)
    assert view(world).reason == "waits for a worker: its own is gone, none is running"


def test_blocked_running_and_stopping_jobs_say_so(scored_world: World) -> None:
    world = scored_world
    first = world.classify(1)
    second = world.classify(1, after_job_id=first)
    world.must_claim()
    assert view(world, second).reason == f"waits for job {first} (running)"
    assert view(world, first).reason == "1 shard running, 2 waiting"
    with world.session() as session:
        cancel(session, first, now=world.now, settings=world.settings)
    assert view(world, first).reason == "is being cancelled: waits for 1 running shard to stop"
    assert view(world, first).cancel_requested


def test_progress_counts_documents_of_done_and_running_shards(scored_world: World) -> None:
    world = scored_world
    start_worker(world)
    world.classify(1)
    world.commit(world.must_claim())
    lease = world.must_claim()
    world.later(10)
    with world.session() as session:
        report = ProgressReport(phase="scoring", done=2, total=4)
        renew(session, lease, now=world.now, lease_seconds=60, progress=report)
    progress = view(world).progress
    assert (progress.done, progress.total, progress.unit) == (6, 12, "documents")
    assert progress.per_second == pytest.approx(0.6)
    assert progress.eta_seconds == pytest.approx(10)
    assert view(world).workers == ("here cpu",)
    assert view(world).shards == {"done": 1, "leased": 1, "ready": 1}


def test_a_training_shows_its_phase_and_newest_figures(scored_world: World) -> None:
    world = scored_world
    world.train(1)
    lease = world.must_claim()
    with world.session() as session:
        report = ProgressReport(phase="training", done=30, total=200, metrics={"loss": 0.21})
        renew(session, lease, now=world.now, lease_seconds=60, progress=report)
    progress = view(world).progress
    assert (progress.unit, progress.done, progress.total) == ("training", 30, 200)
    assert progress.metrics == {"loss": 0.21}
    assert (progress.per_second, progress.eta_seconds) == (None, None)


def test_a_training_that_tells_its_rate_has_a_time_left_while_it_is_worked_on(scored_world: World) -> None:
    world = scored_world
    world.train(1)
    lease = world.must_claim()
    with world.session() as session:
        figures = {"loss": 0.21, "documents_per_second": 2.0}
        report = ProgressReport(phase="training", done=30, total=200, metrics=figures)
        renew(session, lease, now=world.now, lease_seconds=60, progress=report)
    progress = view(world).progress
    assert (progress.per_second, progress.eta_seconds) == (2.0, 85.0)
    assert progress.metrics == {"loss": 0.21}
    world.fail(lease)
    assert view(world).progress.eta_seconds is None


def test_a_job_lists_its_attempts_newest_first(scored_world: World) -> None:
    world = scored_world
    world.train(1)
    world.fail(world.must_claim())
    world.later(600)
    world.commit(world.must_claim("w2"))
    attempts = view(world).attempts
    assert [(one.worker_id, one.outcome, one.failure) for one in attempts] == [
        ("w2", "committed", None),
        ("w1", "failed", "error"),
    ]


def test_the_time_a_job_was_worked_on_leaves_out_waits_and_counts_attempts_side_by_side_once(
    scored_world: World,
) -> None:
    world = scored_world
    job_id = world.classify(1)
    first = world.must_claim()
    world.later(10)
    second = world.must_claim()
    world.later(10)
    world.commit(first)
    world.later(10)
    world.fail(second)
    world.later(600)
    world.must_claim()
    world.later(5)
    assert view(world, job_id).worked_seconds == 35


def test_a_listing_is_newest_first_can_be_filtered_and_goes_on_below(scored_world: World) -> None:
    world = scored_world
    for _ in range(3):
        world.classify(1)
    world.train(1)
    with world.database.reading() as session:

        def ids(**options: object) -> list[int]:
            found = list_jobs(session, now=world.now, settings=world.settings, **options)  # type: ignore[arg-type]
            return [one.id for one in found]

        assert ids() == [4, 3, 2, 1]
        assert ids(limit=2) == [4, 3]
        assert ids(before_id=3) == [2, 1]
        assert ids(states=[JobState.FAILED]) == []
        assert ids(kind="train") == [4]
        assert queue_depth(session) == {"any": 10}
        assert count_jobs(session) == {JobState.READY: 4}


def test_a_listing_takes_few_statements_however_many_jobs_and_shards_there_are(scored_world: World) -> None:
    world = scored_world
    for _ in range(20):
        world.classify(1)
    statements = []

    def count(*arguments: object) -> None:
        statements.append(arguments[2])

    sa.event.listen(world.database.engine, "before_cursor_execute", count)
    try:
        with world.database.reading() as session:
            assert len(list_jobs(session, now=world.now, settings=world.settings)) == 20
    finally:
        sa.event.remove(world.database.engine, "before_cursor_execute", count)
    assert len(statements) <= 5


def test_events_come_in_order_and_can_be_followed(scored_world: World) -> None:
    world = scored_world
    world.train(1)
    world.commit(world.must_claim())
    with world.database.reading() as session:
        lines = events_of(session, 1)
        moves = [(line.type, line.from_state, line.to_state) for line in lines]
        later = events_of(session, 1, after_id=lines[1].id)
        newest = events_of(session, 1, newest=True, limit=1)
    assert moves == [
        ("job.state", None, "ready"),
        ("job.planned", None, None),
        ("shard.state", "ready", "leased"),
        ("job.state", "ready", "running"),
        ("shard.state", "leased", "done"),
        ("job.state", "running", "succeeded"),
    ]
    assert later == lines[2:]
    assert newest == lines[-1:]


def test_an_unknown_job_is_not_found(world: World) -> None:
    with world.database.reading() as session:
        with pytest.raises(NotFound):
            job_view(session, 1, now=world.now, settings=world.settings)
        with pytest.raises(NotFound):
            events_of(session, 1)
