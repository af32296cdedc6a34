"""Failures: which are tried again and when, which are split, and what is given up."""

import pytest

from postq.contracts.failure import FailureClass
from postq.jobs.claims import anything_ready, claim
from postq.jobs.leases import register_checkpoint
from postq.jobs.retries import Action, Outcome
from postq.jobs.retry import retry_job
from postq.jobs.workers import register_worker
from postq.models.job import JobState
from postq.models.shard import ShardState
from postq.predictions.query import quarantined
from tests.integration.engine.world import CPU, World


@pytest.fixture
def training(world: World) -> World:
    world.add_corpus(4)
    world.train(1)
    return world


def fail_again(world: World, failure: FailureClass) -> Outcome:
    outcome = world.fail(world.must_claim(), failure, "it broke")
    world.later(600)
    return outcome


def test_an_error_is_tried_again_until_the_budget_is_used_up(training: World) -> None:
    world = training
    actions = [fail_again(world, FailureClass.ERROR).action for _ in range(3)]
    assert actions == [Action.RETRY, Action.RETRY, Action.DEAD]
    found = world.job(1)
    assert (found.state, found.error) == (JobState.FAILED, "it broke")
    world.verify_all()


def test_waits_grow_with_each_failure(training: World) -> None:
    world = training
    waits = []
    for _ in range(2):
        lease = world.must_claim()
        outcome = world.fail(lease)
        assert outcome.not_before is not None
        waits.append((outcome.not_before - world.now).total_seconds())
        world.later(600)
    assert 1.5 <= waits[0] <= 2.5
    assert 3.0 <= waits[1] <= 5.0


@pytest.mark.parametrize("failure", [FailureClass.BAD_INPUT, FailureClass.INTEGRITY])
def test_what_would_fail_alike_is_never_tried_again(training: World, failure: FailureClass) -> None:
    assert fail_again(training, failure).action is Action.DEAD
    assert training.state(1) is JobState.FAILED


def test_crashes_have_a_budget_of_their_own(training: World) -> None:
    world = training
    assert fail_again(world, FailureClass.ERROR).action is Action.RETRY
    assert fail_again(world, FailureClass.CRASH).action is Action.RETRY
    assert fail_again(world, FailureClass.ERROR).action is Action.RETRY
    assert fail_again(world, FailureClass.STALLED).action is Action.DEAD
    assert world.state(1) is JobState.FAILED


def meet(world: World, worker_id: str) -> None:
    """A live worker with a CPU."""
    with world.session() as session:
        register_worker(
            session, worker_id=worker_id, hostname="h", pid=1, device=CPU, version="1", now=world.now
        )


def test_what_one_worker_cannot_do_is_left_to_the_others_and_not_counted(training: World) -> None:
    world = training
    for name in ("w1", "w2", "w3"):
        meet(world, name)
    for name in ("w1", "w2"):
        outcome = world.fail(world.must_claim(name), FailureClass.UNFIT, "no torch here")
        assert (outcome.action, outcome.not_before) == (Action.RETRY, world.now)
    assert world.must_claim("w3").attempts == 0


def test_what_no_live_worker_can_do_ends_at_once(training: World) -> None:
    world = training
    meet(world, "w2")
    assert world.fail(world.must_claim("w1"), FailureClass.UNFIT, "no torch here").action is Action.RETRY
    assert world.fail(world.must_claim("w2"), FailureClass.UNFIT, "no torch here").action is Action.DEAD
    found = world.job(1)
    assert (found.state, found.error) == (JobState.FAILED, "no torch here")
    world.verify_all()


def test_a_worker_that_is_silent_or_too_small_is_not_waited_for(training: World) -> None:
    world = training
    meet(world, "w2")
    world.later(3_600)
    assert world.fail(world.must_claim("w1"), FailureClass.UNFIT, "no torch here").action is Action.DEAD


def test_a_job_that_was_left_aside_is_not_claimed(training: World) -> None:
    with training.session() as session:
        how = {"device": CPU, "now": training.now, "settings": training.settings}
        assert anything_ready(session, **how)
        assert not anything_ready(session, aside={1}, **how)
        assert claim(session, worker_id="w1", sticky="", aside={1}, **how) is None


@pytest.mark.parametrize("failure", [FailureClass.DEVICE_FULL, FailureClass.NOT_BEGUN])
def test_a_model_that_cannot_be_loaded_costs_no_document(failure: FailureClass, world: World) -> None:
    world.add_corpus(6)
    world.add_bundle()
    world.classify(1)
    actions = [fail_again(world, failure).action for _ in range(3)]
    assert actions == [Action.RETRY, Action.RETRY, Action.DEAD]
    assert world.job(1).documents_quarantined == 0


def test_a_single_document_is_tried_with_whole_batches_again(world: World) -> None:
    world.add_corpus(2)
    world.add_bundle()
    world.classify(1)
    while fail_again(world, FailureClass.CUDA_OOM).action is not Action.SPLIT:
        pass
    lease = world.must_claim()
    assert (lease.stop_row - lease.start_row, lease.batch_divisor, lease.attempts) == (1, 1, 0)


def test_a_retry_by_a_person_begins_with_whole_batches(training: World) -> None:
    world = training
    while fail_again(world, FailureClass.CUDA_OOM).action is not Action.DEAD:
        pass
    with world.session() as session:
        retry_job(session, 1, now=world.now, settings=world.settings)
    assert world.must_claim().batch_divisor == 1


def test_a_device_out_of_memory_halves_the_batch(training: World) -> None:
    world = training
    fail_again(world, FailureClass.CUDA_OOM)
    assert world.must_claim().batch_divisor == 2


def test_a_loss_that_is_not_a_number_gets_one_more_try(training: World) -> None:
    world = training
    assert fail_again(world, FailureClass.NAN_LOSS).action is Action.RETRY
    assert fail_again(world, FailureClass.NAN_LOSS).action is Action.DEAD


def test_a_checkpoint_further_on_forgives_the_failures_before_it(training: World) -> None:
    world = training
    for step in range(1, 6):
        lease = world.must_claim()
        with world.session() as session:
            register_checkpoint(session, lease, f"checkpoints/{step}", step, world.now)
        assert world.fail(lease, FailureClass.CRASH).action is Action.RETRY
        world.later(600)
    lease = world.must_claim()
    with world.session() as session:
        register_checkpoint(session, lease, "checkpoints/5", 5, world.now)
    assert world.fail(lease, FailureClass.CRASH).action is Action.DEAD


def test_a_crashing_document_is_quarantined_and_the_rest_finish(world: World) -> None:
    world.add_corpus(23)
    world.add_bundle()
    job_id = world.classify(1)
    world.work_off(poison=frozenset({5, 17}))
    found = world.job(job_id)
    assert found.state is JobState.SUCCEEDED_WITH_QUARANTINE
    assert (found.documents_predicted, found.documents_quarantined) == (21, 2)
    with world.database.reading() as session:
        apart = list(quarantined(session, job_id))
    assert [(one.row, one.document_id) for one in apart] == [(5, "doc-5"), (17, "doc-17")]
    assert "signal 11" in apart[0].error
    world.verify_all()


def test_one_large_shard_finds_its_poison_in_few_attempts(world: World) -> None:
    world.settings = world.settings.model_copy(update={"shard_documents": 1000})
    world.add_corpus(1000)
    world.add_bundle()
    job_id = world.classify(1)
    attempts = world.work_off(poison=frozenset({617}))
    assert world.job(job_id).documents_predicted == 999
    assert attempts <= 2 + 2 * 10 + 2  # two crashes, one crash and one success a halving, two for the last
    world.verify_all()


def test_a_document_that_raises_is_set_apart_without_any_retry(world: World) -> None:
    world.add_corpus(4)
    world.add_bundle()
    job_id = world.classify(1)
    assert world.commit(world.must_claim(), failing={2: "ValueError: bad \x00 text \ud800"})
    assert world.state(job_id) is JobState.SUCCEEDED_WITH_QUARANTINE
    world.verify_all()


def test_a_classification_whose_leases_keep_being_lost_goes_on_in_smaller_pieces(world: World) -> None:
    world.add_corpus(4)
    world.add_bundle()
    world.classify(1)
    for _ in range(3):
        world.must_claim()
        world.later(61)
        world.maintain()
    assert [one.state for one in world.shards(1)] == [ShardState.SPLIT, ShardState.READY, ShardState.READY]
    world.work_off()
    assert world.state(1) is JobState.SUCCEEDED
    world.verify_all()


def test_a_dead_shard_fails_the_job_only_when_the_others_are_done(world: World) -> None:
    world.add_corpus(8)
    world.add_bundle()
    job_id = world.classify(1)
    world.fail(world.must_claim(), FailureClass.INTEGRITY, "the bundle's digest does not match")
    assert world.state(job_id) is JobState.RUNNING
    world.work_off()
    found = world.job(job_id)
    assert found.state is JobState.FAILED
    assert found.error == "the bundle's digest does not match"
    assert found.documents_predicted == 4
    world.verify_all()
