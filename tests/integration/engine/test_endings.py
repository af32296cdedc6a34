"""Endings: the last shard ends its job, and the end decides about the jobs that wait."""

import threading
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.contracts.failure import FailureClass
from postq.jobs.commit import StoredCounts, commit
from postq.jobs.leases import Lease
from postq.models.job import JobState
from postq.models.tables import job
from tests.integration.engine.world import World


def test_train_evaluate_classify_run_as_a_chain(world: World) -> None:
    corpus = world.add_corpus(6)
    training = world.train(corpus)
    evaluation = world.evaluate(corpus, f"job:{training}")
    scoring = world.classify(corpus, f"job:{training}", after_job_id=evaluation)
    assert world.commit(world.must_claim())
    assert world.state(training) is JobState.SUCCEEDED
    assert world.job(training).result == {"micro_f1": 0.5}
    made = world.job(training).bundle_id
    assert world.job(evaluation).bundle_id == made is not None
    assert (world.state(evaluation), world.state(scoring)) == (JobState.READY, JobState.BLOCKED)
    world.work_off()
    assert world.state(scoring) is JobState.SUCCEEDED
    assert world.job(scoring).bundle_id == made
    world.verify_all()


def test_a_failed_job_takes_those_that_wait_for_it_along_with_a_reason(world: World) -> None:
    corpus = world.add_corpus(6)
    training = world.train(corpus)
    evaluation = world.evaluate(corpus, f"job:{training}")
    scoring = world.classify(corpus, f"job:{training}", after_job_id=evaluation)
    regardless = world.train(corpus, "other", after_job_id=training, after_any=True)
    world.fail(world.must_claim(), FailureClass.BAD_INPUT)
    assert world.state(evaluation) is JobState.FAILED
    assert world.job(evaluation).reason == f"job {training}, which it waited for, failed"
    assert world.job(scoring).reason == f"job {evaluation}, which it waited for, failed"
    assert str(training) in (world.job(evaluation).hint or "")
    assert world.state(regardless) is JobState.READY
    world.verify_all()


def test_a_bundle_that_is_gone_when_its_turn_comes_fails_the_job_and_not_the_one_before(world: World) -> None:
    corpus = world.add_corpus(6)
    training = world.train(corpus)
    scoring = world.classify(corpus, f"job:{training}")
    lease = world.must_claim()
    with world.session() as session:  # a training that stores no bundle
        assert commit(
            session,
            lease,
            now=world.now,
            settings=world.settings,
            store=lambda session, lease: StoredCounts(),
        )
    assert world.state(training) is JobState.SUCCEEDED
    assert world.state(scoring) is JobState.FAILED
    assert "no bundle" in (world.job(scoring).error or "")
    world.verify_all()


def test_two_workers_that_end_the_last_two_shards_at_once_end_the_job(world: World) -> None:
    world.add_corpus(8)
    world.add_bundle()
    world.classify(1)
    follower = world.train(1, "after", after_job_id=1)
    leases = [world.must_claim("w1"), world.must_claim("w2")]
    together = threading.Barrier(2, timeout=2.0)

    def store(session: Session, lease: Lease) -> StoredCounts:
        try:
            together.wait()  # on PostgreSQL both are inside their transactions now
        except threading.BrokenBarrierError:
            assert world.database.is_sqlite  # which lets one writer in at a time
        return world.store(session, lease, failing={})

    def end(lease: Lease) -> bool:
        with world.session() as session:
            return commit(session, lease, now=world.now, settings=world.settings, store=store)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(end, leases)) == [True, True]
    assert world.state(1) is JobState.SUCCEEDED
    assert world.state(follower) is JobState.READY
    world.verify_all()


def test_a_wait_that_the_end_of_the_other_job_overlooked_is_ended_by_maintenance(world: World) -> None:
    world.add_corpus(4)
    world.add_bundle()
    first = world.classify(1)
    late = world.train(1, "late", after_job_id=first)
    with world.session() as session:  # as if the late job was still being submitted while the first ended
        session.execute(sa.update(job).where(job.c.id == late).values(after_job_id=None))
    world.work_off()
    with world.session() as session:
        session.execute(sa.update(job).where(job.c.id == late).values(after_job_id=first))
    assert world.state(late) is JobState.BLOCKED
    world.maintain()
    assert world.state(late) is JobState.READY
    world.verify_all()
