"""Faults 21, 23 and 24: fifty equal submits, a crash between commit and nudge, a bundle swapped mid-job."""

import signal
import subprocess
import sys
import threading

import pytest
import sqlalchemy as sa

from postq.crash_points import CrashPoint
from postq.models.bundle import BundleRow
from postq.models.tables import job, prediction
from tests.faults.accounting import check_invariants
from tests.faults.ground import Ground, is_stopped
from tests.faults.stock import Stock, train_spec
from tests.waiting import wait_until


@pytest.mark.fault(21)
@pytest.mark.usual("sqlite-embedded", "postgresql-redis")
def test_fifty_identical_submits_at_once_with_one_key_make_one_job(ground: Ground, stock: Stock) -> None:
    numbers: list[int] = []
    start = threading.Barrier(50)

    def submit() -> None:
        start.wait()
        numbers.append(ground.classify(idempotency_key="nightly"))

    threads = [threading.Thread(target=submit) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(numbers) == 50
    assert len(set(numbers)) == 1
    assert ground.one(sa.select(sa.func.count()).select_from(job))[0] == 1
    assert len(ground.shards(numbers[0])) == 6
    ground.start_worker()
    assert ground.wait_for_end(numbers[0]) == ["succeeded"]
    check_invariants(ground, numbers[0], digest=stock.digest)


@pytest.mark.fault(23)
@pytest.mark.usual("sqlite-redis")
def test_a_submit_that_died_before_its_nudge_is_done_all_the_same(ground: Ground, stock: Stock) -> None:
    command = [sys.executable, "-m", "postq", "classify-corpus", "opinions", "--bundle", "1"]
    died = subprocess.run(
        command,
        env=ground.environment(**ground.at(CrashPoint.AFTER_SUBMIT)),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    ground.start_worker()
    ((job_id,),) = ground.all(sa.select(job.c.id))
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)


@pytest.mark.fault(23)
@pytest.mark.usual("postgresql-rabbitmq")
def test_dependents_are_found_although_their_nudge_was_never_sent(ground: Ground) -> None:
    # Given a supervisor that dies between the commit of a training and its nudge
    first = ground.start_worker(**ground.at(CrashPoint.AFTER_COMMIT))
    trained = ground.train(train_spec())
    evaluated = ground.evaluate(bundle=f"job:{trained}", after_job_id=trained)
    assert first.process.wait(timeout=60) == -signal.SIGKILL
    # Then the dependent is ready by the same commit, and a worker finds it
    assert ground.job(trained).state == "succeeded"
    assert ground.job(evaluated).state == "ready"
    ground.start_worker()
    assert ground.wait_for_end(evaluated) == ["succeeded"]
    check_invariants(ground, trained, evaluated)


@pytest.mark.fault(23)
@pytest.mark.usual("sqlite-embedded")
def test_a_training_killed_between_moving_its_bundle_and_its_commit_is_done_again_alike(
    ground: Ground,
) -> None:
    first = ground.start_worker(**ground.at(CrashPoint.INSIDE_COMMIT))
    trained = ground.train(train_spec())
    assert first.process.wait(timeout=60) == -signal.SIGKILL
    assert ground.job(trained).bundle_id is None
    ground.start_worker()
    assert ground.wait_for_end(trained) == ["succeeded"]
    check_invariants(ground, trained)
    folders = {f"bundles/{path.name}" for path in (ground.home / "bundles").iterdir()}
    with ground.database.reading() as session:
        assert folders == {row.path for row in session.scalars(sa.select(BundleRow))}


@pytest.mark.fault(24)
@pytest.mark.usual("sqlite-embedded", "postgresql-redis")
def test_a_bundle_changed_during_a_job_fails_it_and_mixes_nothing(ground: Ground) -> None:
    # Given a job two of whose shards are done
    worker = ground.start_worker(**ground.at(CrashPoint.RUNNER_STARTED, nth=3, signal="STOP"))
    job_id = ground.classify()
    ground.wait_until_reached()
    # When another model's weights are put in the bundle's place
    with ground.database.reading() as session:
        row = session.get_one(BundleRow, 1)
    weights = ground.home / row.path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 0xFF
    weights.write_bytes(bytes(content))
    worker.wake_runner()
    # Then the job fails and says why, and only the two shards before have predictions
    assert ground.wait_for_end(job_id) == ["failed"]
    assert "not the file its manifest describes" in ground.job(job_id).error
    counted = ground.one(sa.select(sa.func.count()).where(prediction.c.job_id == job_id))[0]
    assert counted == 20
    assert {one.failure for one in ground.shards(job_id) if one.state == "dead"} == {"integrity"}


@pytest.mark.fault(2, 5)
@pytest.mark.usual("sqlite-embedded")
def test_a_supervisor_frozen_inside_its_commit_holds_nobody_up_for_ever(ground: Ground, stock: Stock) -> None:
    # On SQLite the open transaction is the one write lock: everybody waits, and goes on when it is gone.
    frozen = ground.start_worker(**ground.at(CrashPoint.INSIDE_COMMIT, nth=2, signal="STOP"))
    job_id = ground.classify()
    ground.wait_until_reached()
    wait_until(lambda: is_stopped(frozen.pid))
    other = ground.start_worker()
    frozen.kill()
    assert ground.wait_for_end(job_id) == ["succeeded"]
    check_invariants(ground, job_id, digest=stock.digest)
    assert other.drain() == 0
